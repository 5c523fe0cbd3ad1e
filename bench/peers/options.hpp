// The options of bench_losses and bench_attention: [--rounds N] [--quick] [--filter REGEX].
#ifndef SMX_BENCH_OPTIONS_HPP
#define SMX_BENCH_OPTIONS_HPP

#include "clock.hpp"

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <regex>
#include <string>

struct bench_options {
    schedule timing{15, 1e6};
    bool quick = false;
    std::regex filter{"."};
};

// Ends the program where help was asked for, or something that there is not.
inline bench_options parse_options(int argc, char** argv, const char* help) {
    bench_options result;
    for (int i = 1; i < argc; ++i) {
        const std::string option = argv[i];
        if (option == "--quick") {
            result.quick = true;
            result.timing = {3, 2e5};
        } else if (option == "--rounds" && i + 1 < argc && std::atoi(argv[i + 1]) > 0) {
            result.timing.rounds = static_cast<std::size_t>(std::atoi(argv[++i]));
        } else if (option == "--filter" && i + 1 < argc) {
            result.filter = std::regex(argv[++i]);
        } else {
            std::fputs(help, option == "--help" ? stdout : stderr);
            std::exit(option == "--help" ? 0 : 2);
        }
    }
    return result;
}

#endif
