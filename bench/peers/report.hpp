// What was measured, as tables and as JSON.
#ifndef SMX_BENCH_REPORT_HPP
#define SMX_BENCH_REPORT_HPP

#include "accuracy.hpp"
#include "clock.hpp"
#include "peer.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// Times are ns per element from here on.
struct peer_result {
    std::string name;
    timing aligned, misaligned;
    std::optional<accuracy> usual, wide; // of logits N(0, 3) and N(0, 30)
};

// The least that a shape could cost on this machine.
struct limit_result {
    double read = 0, scale = 0, copy = 0, copy_streaming = 0;
    double multiply_add = 0; // of one per element
    double best = 0;
};

struct shape_result {
    operation what;
    std::size_t rows, columns;
    std::vector<peer_result> peers;
    std::optional<limit_result>
        limit; // none for a row so short that such a pass is not limited by what it does

    // The fastest that is not smx; 0 if there is none.
    double best_peer() const;
};

struct report {
    std::string type, processor;
    std::size_t vector_bytes;
    schedule timing_schedule;
    std::vector<std::pair<std::string, std::string>> peers; // name, description
    std::vector<shape_result> shapes;
};

const char* name_of(operation what);
std::string text_of(std::size_t rows, std::size_t columns);

void print_head(const report& r);
void print_head(operation what, const report& r);
void print(const shape_result& s);
// Best times and worst errors, shapes by peers, as Markdown.
void print_summary(operation what, const report& r);

// False: the file could not be written.
bool write_json(const report& r, const std::string& path);

#endif
