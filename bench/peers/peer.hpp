// What every contestant of bench_peers is: prepared for one problem, then run as often as the clock needs.
#ifndef SMX_BENCH_PEER_HPP
#define SMX_BENCH_PEER_HPP

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

enum class operation { softmax, log_softmax };

// Rows of `columns` logits, one after the other; the results likewise.
template <class Real>
struct problem {
    operation what;
    std::size_t rows;
    std::size_t columns;
    const Real* logits;
    Real* results;

    std::size_t size() const { return rows * columns; }
};

class runnable {
public:
    virtual ~runnable() = default;
    virtual void run() = 0;
};

template <class Real>
class peer : public runnable {
public:
    peer(std::string name, std::string description)
        : name_(std::move(name)),
          description_(std::move(description)) {}

    const std::string& name() const { return name_; }
    const std::string& description() const { return description_; }

    // Everything that a program would do once: buffers, primitives, views. False: it has no such operation.
    virtual bool prepare(const problem<Real>& p) = 0;

private:
    std::string name_, description_;
};

template <class Real>
using peer_list = std::vector<std::unique_ptr<peer<Real>>>;

// smx first, then those that were found when this program was configured.
template <class Real>
peer_list<Real> all_peers();

std::unique_ptr<peer<float>> make_onednn();
std::unique_ptr<peer<float>> make_xnnpack();
template <class Real>
std::unique_ptr<peer<Real>> make_torch();

#endif
