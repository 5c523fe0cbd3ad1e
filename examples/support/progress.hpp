// How far a long piece of work has come, on standard error: a bar where that is a terminal, a line now and
// then where it is not.

#ifndef SMX_EXAMPLES_SUPPORT_PROGRESS_HPP
#define SMX_EXAMPLES_SUPPORT_PROGRESS_HPP

#include "terminal.hpp"

#include <cstdio>
#include <string>
#include <utility>

namespace support {

class progress {
public:
    progress(std::string label, int steps) : label_(std::move(label)), steps_(steps) {}

    // `done` of the steps are done; `note` is what else there is to say. Cheap enough to be called at every
    // step.
    void update(int done, const std::string& note) {
        const int percent = static_cast<int>(100LL * done / steps_);
        const int part = is_bar_ ? percent : percent / 25;
        if (part == shown_) {
            return;
        }
        shown_ = part;
        if (is_bar_) {
            const std::string bar = text_bar(static_cast<double>(done) / steps_, 30);
            std::fprintf(stderr, "\r%s [%s] %3d %%  %s ", label_.c_str(), bar.c_str(), percent, note.c_str());
            std::fputs(done == steps_ ? "\n" : "", stderr);
        } else if (part > 0) {
            std::fprintf(stderr, "%s: %d %%, %s\n", label_.c_str(), percent, note.c_str());
        }
        std::fflush(stderr);
    }

private:
    std::string label_;
    int steps_;
    int shown_ = -1;
    bool is_bar_ = is_terminal(stderr);
};

} // namespace support

#endif
