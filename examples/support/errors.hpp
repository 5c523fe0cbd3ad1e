// What goes wrong in a program, and what its main makes of it.

#ifndef SMX_EXAMPLES_SUPPORT_ERRORS_HPP
#define SMX_EXAMPLES_SUPPORT_ERRORS_HPP

#include <cstdio>
#include <exception>
#include <stdexcept>

namespace support {

// What a user can put right: a program reports it and exits with status 2.
struct usage_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The same of what a file holds: "file:line: reason".
struct input_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The status of a program that does `run`: 0 if all of it went well, and reached standard output. Else it says what did not.
template <class F>
int exit_status_of(const char* program, F run) {
    try {
        run();
        if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
            throw std::runtime_error("standard output cannot be written");
        }
        return 0;
    } catch (const usage_error& error) {
        std::fprintf(stderr, "%s: %s\n", program, error.what());
        return 2;
    } catch (const input_error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", program, error.what());
        return 1;
    }
}

} // namespace support

#endif
