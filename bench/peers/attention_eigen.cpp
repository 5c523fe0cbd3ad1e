#include "attention.hpp"

#include <softmax.hpp>

#include <Eigen/Core>

#include <cmath>
#include <span>

namespace {

class eigen_head : public runnable {
public:
    explicit eigen_head(const head_problem& p) : p_(p), scores_(rows(p.n), rows(p.n)) {}
    void run() override {
        const std::size_t n = p_.n;
        const Eigen::Map<const matrix> q(p_.queries, rows(n), rows(p_.d)), k(p_.keys, rows(n), rows(p_.d)),
            v(p_.values, rows(n), rows(p_.d));
        Eigen::Map<matrix> output(p_.output, rows(n), rows(p_.d));
        scores_.noalias() = q * k.transpose();
        const std::span scores(scores_.data(), n * n);
        const double t = std::sqrt(static_cast<double>(p_.d));
        p_.is_causal ? smx::masked_softmax(scores, smx::causal(), scores, {n, n}, {.temperature = t})
                     : smx::softmax(scores, scores, {n, n}, t);
        output.noalias() = scores_ * v;
    }

private:
    using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    static Eigen::Index rows(std::size_t n) { return static_cast<Eigen::Index>(n); }

    head_problem p_;
    matrix scores_;
};

} // namespace

std::unique_ptr<runnable> make_eigen_head(const head_problem& p) { return std::make_unique<eigen_head>(p); }
