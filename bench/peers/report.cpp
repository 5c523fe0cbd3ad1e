#include "report.hpp"

#include <cmath>
#include <cstdio>
#include <memory>

const char* name_of(operation what) { return what == operation::softmax ? "softmax" : "log_softmax"; }

std::string text_of(std::size_t rows, std::size_t columns) {
    return std::to_string(rows) + 'x' + std::to_string(columns);
}

double shape_result::best_peer() const {
    double best = 0;
    for (const peer_result& p : peers)
        if (p.name != "smx" && (best == 0 || p.aligned.best < best))
            best = p.aligned.best;
    return best;
}

void print_head(const report& r) {
    std::printf("%s, %s; one thread; %zu interleaved rounds of about %g ms each\n", r.processor.c_str(),
                r.type.c_str(), r.timing_schedule.rounds, r.timing_schedule.sample_ns / 1e6);
    for (const auto& [name, description] : r.peers)
        std::printf("    %-10s %s\n", name.c_str(), description.c_str());
    std::fputs("best, median: ns of processor time per element, in buffers that start at 64 bytes\n"
               "spread: the middle half of the rounds, by the median\n"
               "misaligned: best, in buffers that start one element later\n"
               "by peer: the best time of the best of the others, by this one's\n"
               "of limit: the limit by the best time; the limit is the least that such a shape could take\n"
               "worst ulp, |sum - 1|: of results that are normal numbers, logits N(0,3)\n"
               "lost: how many such results came out as 0, logits N(0,30)\n",
               stdout);
}

void print_head(operation what, const report& r) {
    std::printf("\n%s, %s\n%-12s%-10s%9s%9s%8s%12s%9s%10s%11s%11s%8s\n", name_of(what), r.type.c_str(),
                "shape", "", "best", "median", "spread", "misaligned", "by peer", "of limit", "worst ulp",
                "|sum - 1|", "lost");
}

static void print_limit(const shape_result& s) {
    std::printf("%-12s", text_of(s.rows, s.columns).c_str());
    if (s.limit)
        std::printf("%-10s%9.4f   read %.4f, scale %.4f, copy %.4f, streaming %.4f; a multiply-add %.4f",
                    "limit", s.limit->best, s.limit->read, s.limit->scale, s.limit->copy,
                    s.limit->copy_streaming, s.limit->multiply_add);
    std::puts("");
}

static void print(const peer_result& p, const shape_result& s) {
    std::printf("%-12s%-10s%9.4f%9.4f%7.0f%%%12.4f", "", p.name.c_str(), p.aligned.best, p.aligned.median,
                100 * p.aligned.spread(), p.misaligned.best);
    const double ratio = s.best_peer() / p.aligned.best;
    ratio > 0 ? std::printf("%9.2f", ratio) : std::printf("%9s", "");
    s.limit ? std::printf("%9.0f%%", 100 * s.limit->best / p.aligned.best) : std::printf("%10s", "");
    if (p.usual)
        std::printf("%11.4g%11.1e", p.usual->worst_ulp, p.usual->sum_error);
    if (p.wide && s.what == operation::softmax)
        std::printf("%8zu", p.wide->lost);
    std::puts("");
}

void print(const shape_result& s) {
    print_limit(s);
    for (const peer_result& p : s.peers)
        print(p, s);
    std::fflush(stdout);
}

static const peer_result* find(const shape_result& s, const std::string& name) {
    for (const peer_result& p : s.peers)
        if (p.name == name)
            return &p;
    return nullptr;
}

// One Markdown table, shapes by peers; `cell` prints one, `last` the end of a line.
template <class Cell, class Last>
static void print_table(operation what, const report& r, const char* title, const char* last_title, Cell cell,
                        Last last) {
    std::printf("\n| %s, %s, %s |", name_of(what), r.type.c_str(), title);
    for (const auto& [name, description] : r.peers)
        std::printf(" %s |", name.c_str());
    std::printf("%s\n|---|", last_title);
    for (std::size_t i = 0; i < r.peers.size(); ++i)
        std::printf("---|");
    std::puts(*last_title ? "---|" : "");
    for (const shape_result& s : r.shapes) {
        if (s.what != what)
            continue;
        std::printf("| %s |", text_of(s.rows, s.columns).c_str());
        for (const auto& [name, description] : r.peers) {
            if (const peer_result* const p = find(s, name))
                cell(*p);
            std::printf(" |");
        }
        last(s);
        std::puts("");
    }
}

void print_summary(operation what, const report& r) {
    print_table(
        what, r, "best ns per element", " limit |",
        [](const peer_result& p) { std::printf(" %.3g", p.aligned.best); },
        [](const shape_result& s) { s.limit ? std::printf(" %.3g |", s.limit->best) : std::printf(" |"); });
    print_table(
        what, r, "worst ulp, logits N(0,3); N(0,30)", "",
        [](const peer_result& p) {
            if (p.usual && p.wide)
                std::printf(" %.3g; %.3g", p.usual->worst_ulp, p.wide->worst_ulp);
        },
        [](const shape_result&) {});
}

namespace {

// Writes objects and arrays with their commas and indentation: all the JSON that a report needs.
class json_writer {
public:
    explicit json_writer(std::FILE* file) : file_(file) {}

    template <class F>
    void object(const char* key, F members) {
        nested(key, '{', '}', members);
    }
    template <class F>
    void array(const char* key, F elements) {
        nested(key, '[', ']', elements);
    }

    void text(const char* key, const std::string& value) {
        start(key);
        std::fputc('"', file_);
        for (const char c : value) {
            if (c == '"' || c == '\\')
                std::fputc('\\', file_);
            std::fputc(c, file_);
        }
        std::fputc('"', file_);
    }
    void number(const char* key, double value) {
        start(key);
        std::isfinite(value) ? std::fprintf(file_, "%.6g", value) : std::fprintf(file_, "null");
    }
    void count(const char* key, std::size_t value) {
        start(key);
        std::fprintf(file_, "%zu", value);
    }

private:
    void start(const char* key) {
        std::fprintf(file_, first_ ? "" : ",");
        first_ = false;
        if (depth_ != 0)
            std::fprintf(file_, "\n%*s", 2 * depth_, "");
        if (key)
            std::fprintf(file_, "\"%s\": ", key);
    }
    template <class F>
    void nested(const char* key, char open, char close, F contents) {
        start(key);
        std::fputc(open, file_);
        ++depth_;
        first_ = true;
        contents();
        --depth_;
        first_ = false;
        std::fprintf(file_, "\n%*s%c", 2 * depth_, "", close);
    }

    std::FILE* file_;
    int depth_ = 0;
    bool first_ = true;
};

void write(json_writer& json, const char* key, const timing& t) {
    json.object(key, [&] {
        json.number("best", t.best);
        json.number("lower_quartile", t.lower_quartile);
        json.number("median", t.median);
        json.number("upper_quartile", t.upper_quartile);
    });
}

void write(json_writer& json, const char* key, const std::optional<accuracy>& a) {
    if (!a)
        return;
    json.object(key, [&] {
        json.number("worst_ulp", a->worst_ulp);
        json.number("sum_error", a->sum_error);
        json.count("normals", a->normals);
        json.count("lost", a->lost);
    });
}

void write(json_writer& json, const limit_result& l) {
    json.object("limit", [&] {
        json.number("best", l.best);
        json.number("read", l.read);
        json.number("scale", l.scale);
        json.number("copy", l.copy);
        json.number("copy_streaming", l.copy_streaming);
        json.number("multiply_add", l.multiply_add);
    });
}

void write(json_writer& json, const shape_result& s) {
    json.object(nullptr, [&] {
        json.text("operation", name_of(s.what));
        json.count("rows", s.rows);
        json.count("columns", s.columns);
        if (s.limit)
            write(json, *s.limit);
        json.array("peers", [&] {
            for (const peer_result& p : s.peers) {
                json.object(nullptr, [&] {
                    json.text("name", p.name);
                    write(json, "ns_per_element", p.aligned);
                    write(json, "ns_per_element_misaligned", p.misaligned);
                    write(json, "accuracy", p.usual);
                    write(json, "accuracy_wide", p.wide);
                });
            }
        });
    });
}

void write(json_writer& json, const report& r) {
    json.object(nullptr, [&] {
        json.text("type", r.type);
        json.text("processor", r.processor);
        json.count("vector_bytes", r.vector_bytes);
        json.count("rounds", r.timing_schedule.rounds);
        json.array("peers", [&] {
            for (const auto& [name, description] : r.peers) {
                json.object(nullptr, [&, &name = name, &description = description] {
                    json.text("name", name);
                    json.text("description", description);
                });
            }
        });
        json.array("shapes", [&] {
            for (const shape_result& s : r.shapes)
                write(json, s);
        });
    });
}

} // namespace

bool write_json(const report& r, const std::string& path) {
    std::FILE* const file = std::fopen(path.c_str(), "w");
    if (!file)
        return false;
    json_writer json(file);
    write(json, r);
    std::fputc('\n', file);
    const bool written = !std::ferror(file);
    return std::fclose(file) == 0 && written;
}
