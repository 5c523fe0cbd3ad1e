// bench_peers: smx against everything else on this machine that computes a softmax.
#include "kernels.hpp"
#include "measure.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <limits>
#include <regex>
#include <stdexcept>

namespace {

constexpr const char* help =
    "usage: bench_peers [option ...]\n"
    "Times smx and its peers on one thread, interleaved, and measures their errors.\n"
    "  --op softmax|log_softmax   only this operation\n"
    "  --type float|double        of the elements (default: float; libraries without double drop out)\n"
    "  --filter REGEX             only where it is found in SHAPE/PEER, as in '^1x.*/(smx|Eigen)$'\n"
    "  --rounds N                 how often each is timed (default: 15)\n"
    "  --quick                    3 short rounds (or N), no errors of the longest row: less than a minute\n"
    "  --no-accuracy              times only\n"
    "  --json FILE                writes everything there as well\n"
    "  --help                     this text\n";

struct options {
    std::vector<operation> operations{operation::softmax, operation::log_softmax};
    std::string type = "float";
    std::regex filter{"."};
    schedule timing{15, 1e6};
    std::size_t longest_judged = (std::numeric_limits<std::size_t>::max)();
    std::string json;
};

struct usage_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

constexpr std::pair<std::size_t, std::size_t> shapes[] = {
    {4096, 10}, {4096, 64}, {1024, 1000}, {512, 2048}, {64, 50257},  {1, 16},      {1, 100},
    {1, 1000},  {1, 4096},  {1, 32768},   {1, 128256}, {1, 1048576}, {1, 16777216}};

operation operation_of(const std::string& name) {
    for (const operation what : {operation::softmax, operation::log_softmax})
        if (name == name_of(what))
            return what;
    throw usage_error("unknown operation '" + name + "'");
}

std::size_t rounds_of(const std::string& text) {
    char* end = nullptr;
    const unsigned long rounds = std::strtoul(text.c_str(), &end, 10);
    if (*end != '\0' || rounds == 0 || rounds > 100000)
        throw usage_error("'" + text + "' is not a number of rounds");
    return rounds;
}

std::string type_of(const std::string& name) {
    if (name != "float" && name != "double")
        throw usage_error("unknown type '" + name + "'");
    return name;
}

void make_quick(options& o) {
    o.timing = {3, 2e5};
    o.longest_judged = 4'000'000;
}

options parse(const std::vector<std::string>& arguments) {
    options o;
    if (std::find(arguments.begin(), arguments.end(), "--quick") != arguments.end())
        make_quick(o); // first, whatever its place: other options say more
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& name = arguments[i];
        const auto value = [&] {
            if (i + 1 == arguments.size())
                throw usage_error("a value is missing after " + name);
            return arguments[++i];
        };
        if (name == "--op")
            o.operations = {operation_of(value())};
        else if (name == "--type")
            o.type = type_of(value());
        else if (name == "--filter")
            o.filter = std::regex(value(), std::regex::extended);
        else if (name == "--rounds")
            o.timing.rounds = rounds_of(value());
        else if (name == "--no-accuracy")
            o.longest_judged = 0;
        else if (name == "--json")
            o.json = value();
        else if (name != "--quick")
            throw usage_error("unknown option '" + name + "'");
    }
    return o;
}

std::string processor() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("model name"))
            return line.substr(line.find(':') + 2);
    return "unknown processor";
}

// Those that have the operation and pass the filter.
template <class Real>
std::vector<peer<Real>*> select(const peer_list<Real>& all, operation what, const std::string& shape,
                                const std::regex& filter) {
    Real logit = 0, result = 0;
    std::vector<peer<Real>*> selected;
    for (const auto& one : all)
        if (std::regex_search(shape + '/' + one->name(), filter) &&
            one->prepare({what, 1, 1, &logit, &result}))
            selected.push_back(one.get());
    return selected;
}

// Something fast that computes something else, or on more than one thread, is no peer.
template <class Real>
bool is_fair(const shape_result& s) {
    bool fair = true;
    const auto complain = [&](const peer_result& p, const char* what) {
        std::fprintf(stderr, "bench_peers: %s at %s: %s\n", p.name.c_str(),
                     text_of(s.rows, s.columns).c_str(), what);
        fair = false;
    };
    for (const peer_result& p : s.peers) {
        if (p.usual && !(p.usual->worst_ulp * std::numeric_limits<Real>::epsilon() < 0.2))
            complain(p, "the results are wrong");
        if (p.aligned.threads > 1.1)
            complain(p, "runs on more than one thread");
    }
    return fair;
}

template <class Real>
int run(const options& o) {
    const peer_list<Real> all = all_peers<Real>();
    report r{o.type, processor(), limits::vector_bytes, o.timing, {}, {}};
    for (const auto& one : all)
        r.peers.emplace_back(one->name(), one->description());
    print_head(r);
    bool fair = true;
    for (const operation what : o.operations) {
        print_head(what, r);
        for (const auto& [rows, columns] : shapes) {
            const auto selected = select<Real>(all, what, text_of(rows, columns), o.filter);
            if (selected.empty())
                continue;
            const bool judge = rows * columns <= o.longest_judged;
            r.shapes.push_back(measure<Real>(what, rows, columns, selected, o.timing, judge));
            print(r.shapes.back());
            fair = is_fair<Real>(r.shapes.back()) && fair;
        }
    }
    if (r.shapes.empty())
        throw usage_error("--filter leaves nothing");
    for (const operation what : o.operations)
        print_summary(what, r);
    if (!o.json.empty() && !write_json(r, o.json)) {
        std::fprintf(stderr, "bench_peers: cannot write '%s'\n", o.json.c_str());
        return 1;
    }
    return fair ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    for (const std::string& argument : arguments) {
        if (argument == "--help") {
            std::fputs(help, stdout);
            return 0;
        }
    }
    try {
        const options o = parse(arguments);
        return o.type == "float" ? run<float>(o) : run<double>(o);
    } catch (const usage_error& e) {
        std::fprintf(stderr, "bench_peers: %s\n%s", e.what(), help);
        return 2;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bench_peers: %s\n", e.what());
        return 1;
    }
}
