// Every broken precondition: the type of the exception, a message that names the function, the argument and
// both numbers, and outputs as they were.
#include <softmax.hpp>

#include "support/catch.hpp"
#include "support/strided_view.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <limits>
#include <list>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <vector>

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

// `call` throws exactly Error, and its message holds all of `parts`.
template <class Error, class Call>
void refuses(Call call, std::initializer_list<const char*> parts) {
    try {
        call();
        FAIL_CHECK("nothing was thrown");
    } catch (const std::exception& error) {
        const std::string message = error.what();
        CAPTURE(message, typeid(error).name());
        CHECK(typeid(error) == typeid(Error));
        for (const char* part : parts) {
            CAPTURE(part);
            CHECK(message.find(part) != std::string::npos);
        }
    }
}

template <class Call>
void invalid(Call call, std::initializer_list<const char*> parts) {
    refuses<std::invalid_argument>(call, parts);
}

template <class Call>
void outside(Call call, std::initializer_list<const char*> parts) {
    refuses<std::out_of_range>(call, parts);
}

// 37, 41, 43 turn up in a message only if it means them.
const std::vector<double> logits(41, 0.5);
std::vector<double> filled(std::size_t n) { return std::vector<double>(n, -77); }
bool untouched(const std::vector<double>& output) { return output == filled(output.size()); }

constexpr double bad_temperatures[] = {-1, -0.25, -1e-300, -inf, no_number};

using options = smx::cross_entropy_options<double>;

} // namespace

TEST_CASE("softmax says which size is wrong under a row of another length") {
    auto out = filled(37);
    invalid([&] { smx::softmax(logits, out); }, {"smx::softmax: ", "probabilities has 37", "logits has 41"});
    invalid([&] { smx::softmax(logits, out, 0.5); },
            {"smx::softmax: ", "probabilities", "37", "logits", "41"});
    CHECK(untouched(out));
    auto longer = filled(43);
    invalid([&] { smx::softmax(logits, longer, 0.5); },
            {"smx::softmax: ", "probabilities", "43", "logits", "41"});
    CHECK(untouched(longer));
    std::list<double> list(37, -77);
    invalid([&] { smx::softmax(logits, list, 0.5); },
            {"smx::softmax: ", "probabilities", "37", "logits", "41"});
    CHECK(list == std::list<double>(37, -77));
    const std::list<double> in(41, 0.5);
    invalid([&] { smx::softmax(in, out, 0.5); }, {"smx::softmax: ", "probabilities", "37", "logits", "41"});
    CHECK(untouched(out));
    auto none = filled(0);
    invalid([&] { smx::softmax(logits, none); }, {"probabilities", "0", "41"});
    invalid([&] { smx::softmax(none, out); }, {"probabilities", "37", "logits", "0"});
    CHECK(untouched(out));
}

TEST_CASE("log_softmax says which size is wrong under a row of another length") {
    auto out = filled(37);
    invalid([&] { smx::log_softmax(logits, out, 0.5); },
            {"smx::log_softmax: ", "log_probabilities", "37", "logits", "41"});
    CHECK(untouched(out));
    std::list<double> list(43, -77);
    invalid([&] { smx::log_softmax(logits, list, 0.5); }, {"log_probabilities", "43", "logits", "41"});
    CHECK(list == std::list<double>(43, -77));
}

TEST_CASE("softmax, log_softmax and logsumexp refuse a bad temperature under every form") {
    for (const double t : bad_temperatures) {
        const char* number = t != t       ? "nan"
                             : t == -1    ? "-1"
                             : t == -0.25 ? "-0.25"
                             : t == -inf  ? "-inf"
                                          : "-";
        CAPTURE(t);
        auto out = filled(41), results = filled(41);
        std::list<double> list(41, -77);
        invalid([&] { smx::softmax(logits, out, t); }, {"smx::softmax: ", "temperature", number});
        invalid([&] { smx::softmax(logits, list, t); }, {"smx::softmax: ", "temperature", number});
        invalid([&] { smx::softmax(logits.begin(), logits.end(), out.begin(), t); }, {"temperature", number});
        invalid([&] { smx::softmax(logits, t); }, {"smx::softmax: ", "temperature", number});
        invalid([&] { smx::softmax({1.0, 2.0}, t); }, {"smx::softmax: ", "temperature", number});
        invalid([&] { smx::softmax(logits, out, smx::shape{1, 41, 1}, t); }, {"temperature", number});
        invalid([&] { smx::softmax(logits, out, smx::shape{1, 1, 41}, t); }, {"temperature", number});
        invalid([&] { smx::log_softmax(logits, out, t); }, {"smx::log_softmax: ", "temperature", number});
        invalid([&] { smx::log_softmax(logits, list, t); }, {"smx::log_softmax: ", "temperature", number});
        invalid([&] { smx::log_softmax(logits.begin(), logits.end(), out.begin(), t); },
                {"temperature", number});
        invalid([&] { smx::log_softmax(logits, t); }, {"smx::log_softmax: ", "temperature", number});
        invalid([&] { smx::log_softmax({1.0, 2.0}, t); }, {"smx::log_softmax: ", "temperature", number});
        invalid([&] { smx::log_softmax(logits, out, smx::shape{1, 41, 1}, t); }, {"temperature", number});
        invalid([&] { smx::logsumexp(logits, t); }, {"smx::logsumexp: ", "temperature", number});
        invalid([&] { smx::logsumexp({1.0, 2.0}, t); }, {"smx::logsumexp: ", "temperature", number});
        invalid([&] { smx::logsumexp(logits.begin(), logits.end(), t); }, {"temperature", number});
        invalid([&] { smx::logsumexp(logits, results, smx::shape{1, 1, 41}, t); }, {"temperature", number});
        CHECK(untouched(out));
        CHECK(untouched(results));
        CHECK(list == std::list<double>(41, -77));
        // Bad also where no class is there to notice it.
        auto none = filled(0);
        invalid([&] { smx::softmax(none, none, t); }, {"temperature"});
        invalid([&] { smx::logsumexp(none, t); }, {"temperature"});
    }
    // In other types than the logits'.
    auto out = filled(41);
    invalid([&] { smx::softmax(logits, out, -1); }, {"temperature", "-1"});
    invalid([&] { smx::softmax(logits, out, -1.0F); }, {"temperature", "-1"});
    invalid([&] { smx::softmax(logits, out, -1.0L); }, {"temperature", "-1"});
    invalid([&] { smx::softmax(std::vector<float>(41), out, -1); }, {"temperature", "-1"});
    CHECK(untouched(out));
}

TEST_CASE("logsumexp and cross_entropy refuse a temperature of 0 under every form") {
    auto results = filled(41);
    for (const double t : {0.0, -0.0}) {
        invalid([&] { smx::logsumexp(logits, t); }, {"smx::logsumexp: ", "temperature", "0"});
        invalid([&] { smx::logsumexp(logits.begin(), logits.end(), t); },
                {"smx::logsumexp: ", "temperature"});
        invalid([&] { smx::logsumexp({1.0, 2.0}, t); }, {"smx::logsumexp: ", "temperature"});
        invalid([&] { smx::logsumexp(logits, results, smx::shape{1, 1, 41}, t); }, {"temperature", "0"});
        CHECK(untouched(results));
    }
    const std::vector<double> each = {1, 0};
    auto two = filled(2);
    invalid([&] { smx::logsumexp(std::vector<double>(4, 1.0), two, smx::shape{2, 2, 1}, each); },
            {"temperature"});
    CHECK(untouched(two));
}

TEST_CASE(
    "softmax, log_softmax and logsumexp check every temperature before the first write under one T per row") {
    const smx::shape shape{2, 3, 2};
    const std::vector<double> in(12, 0.5);
    auto out = filled(12), results = filled(4);
    const std::vector<double> bad = {1, 0.3, 2, -1.5}, with_nan = {1, 0.3, 2, no_number};
    invalid([&] { smx::softmax(in, out, shape, bad); }, {"smx::softmax: ", "temperature", "-1.5"});
    invalid([&] { smx::log_softmax(in, out, shape, bad); }, {"smx::log_softmax: ", "temperature", "-1.5"});
    invalid([&] { smx::logsumexp(in, results, shape, bad); }, {"smx::logsumexp: ", "temperature", "-1.5"});
    invalid([&] { smx::softmax(in, out, shape, with_nan); }, {"temperature", "nan"});
    invalid([&] { smx::log_softmax(in, out, shape, with_nan); }, {"temperature", "nan"});
    invalid([&] { smx::logsumexp(in, results, shape, with_nan); }, {"temperature", "nan"});
    // One for each row, neither more nor fewer.
    const std::vector<double> too_many(37, 1.0), too_few(3, 1.0);
    invalid([&] { smx::softmax(in, out, shape, too_many); }, {"smx::softmax: ", "temperature", "37", "4"});
    invalid([&] { smx::softmax(in, out, shape, too_few); }, {"smx::softmax: ", "temperature", "3", "4"});
    invalid([&] { smx::log_softmax(in, out, shape, too_many); },
            {"smx::log_softmax: ", "temperature", "37", "4"});
    invalid([&] { smx::logsumexp(in, results, shape, too_few); },
            {"smx::logsumexp: ", "temperature", "3", "4"});
    CHECK(untouched(out));
    CHECK(untouched(results));
}

TEST_CASE("softmax, log_softmax and logsumexp say which size is wrong under a shape") {
    const std::vector<double> in(12, 0.5);
    auto out = filled(12), other = filled(37), results = filled(4);
    const smx::shape fits{2, 3, 2};
    invalid([&] { smx::softmax(in, out, smx::shape{2, 3, 7}); }, {"smx::softmax: ", "logits", "12", "42"});
    invalid([&] { smx::softmax(in, other, fits); }, {"smx::softmax: ", "probabilities", "37", "12"});
    invalid([&] { smx::softmax(in, other, fits, 0.5); }, {"smx::softmax: ", "probabilities", "37", "12"});
    invalid([&] { smx::softmax(in, out, smx::shape{2, 3}); }, {"smx::softmax: ", "logits", "12", "6"});
    invalid([&] { smx::log_softmax(in, out, smx::shape{2, 3, 7}); },
            {"smx::log_softmax: ", "logits", "12", "42"});
    invalid([&] { smx::log_softmax(in, other, fits); },
            {"smx::log_softmax: ", "log_probabilities", "37", "12"});
    invalid([&] { smx::logsumexp(in, results, smx::shape{2, 3, 7}); },
            {"smx::logsumexp: ", "logits", "12", "42"});
    invalid([&] { smx::logsumexp(in, other, fits); }, {"smx::logsumexp: ", "results", "37", "4"});
    CHECK(untouched(out));
    CHECK(untouched(other));
    CHECK(untouched(results));
    // A number of elements that wraps around to the size that is there.
    const std::size_t half = std::numeric_limits<std::size_t>::max() / 2 + 1;
    auto none = filled(0);
    invalid([&] { smx::softmax(none, none, smx::shape{half, 2, 1}); }, {"smx::softmax: ", "shape"});
    invalid([&] { smx::softmax(none, none, smx::shape{2, half, 1}); }, {"smx::softmax: ", "shape"});
    invalid([&] { smx::softmax(none, none, smx::shape{1, 2, half}); }, {"smx::softmax: ", "shape"});
    invalid([&] { smx::logsumexp(none, none, smx::shape{half, 2, 1}); }, {"smx::logsumexp: ", "shape"});
    invalid([&] { smx::cross_entropy(none, std::vector<int>(), smx::shape{half, 2, 1}); },
            {"smx::cross_entropy: ", "shape"});
}

TEST_CASE("cross_entropy names the target and the classes under a target outside") {
    auto gradient = filled(41);
    outside([&] { smx::cross_entropy(logits, 41); }, {"smx::cross_entropy: ", "target is 41", "[0, 41)"});
    outside([&] { smx::cross_entropy(logits, 43u); }, {"smx::cross_entropy: ", "target is 43", "[0, 41)"});
    outside([&] { smx::cross_entropy(logits, -1); }, {"smx::cross_entropy: ", "target is -1", "[0, 41)"});
    outside([&] { smx::cross_entropy(logits, -1, gradient); },
            {"smx::cross_entropy: ", "target is -1", "[0, 41)"});
    outside([&] { smx::cross_entropy(logits, static_cast<signed char>(-5), gradient); }, {"target is -5"});
    outside([&] { smx::cross_entropy(logits, static_cast<unsigned char>(200), gradient); },
            {"target is 200"});
    outside([&] { smx::cross_entropy(logits, std::numeric_limits<std::uint64_t>::max(), gradient); },
            {"18446744073709551615", "41"});
    outside([&] { smx::cross_entropy(logits, std::numeric_limits<std::int64_t>::min(), gradient); },
            {"-9223372036854775808", "41"});
    outside([&] { smx::cross_entropy(logits, std::int64_t(1) << 32, gradient); }, {"4294967296", "41"});
    outside([&] { smx::cross_entropy(logits.begin(), logits.end(), 43); }, {"target is 43", "[0, 41)"});
    outside([&] { smx::cross_entropy(logits.begin(), logits.end(), 43, gradient.begin()); },
            {"target is 43"});
    outside([&] { smx::cross_entropy({1.0, 2.0}, 43); }, {"target is 43", "[0, 2)"});
    CHECK(untouched(gradient));
    // An ignored index is one number: the unsigned twin of -1 is none.
    outside(
        [&] {
            smx::cross_entropy(logits, std::numeric_limits<std::uint64_t>::max(), gradient,
                               {.ignore_index = -1});
        },
        {"18446744073709551615"});
    outside([&] { smx::cross_entropy(logits, -2, gradient, {.ignore_index = -1}); }, {"target is -2"});
    CHECK(untouched(gradient));
}

TEST_CASE("cross_entropy checks every target before the first write under a batch") {
    const std::vector<double> in(12, 0.5);
    auto gradient = filled(12);
    const smx::shape shape{2, 3, 2};
    const std::vector<int> last_is_bad = {0, 1, 2, 7}, negative = {0, 1, 2, -1},
                           ignored_and_bad = {-1, 1, 2, 3};
    outside([&] { smx::cross_entropy(in, last_is_bad, shape); },
            {"smx::cross_entropy: ", "target", "7", "3"});
    outside([&] { smx::cross_entropy(in, last_is_bad, gradient, shape); }, {"target", "7", "[0, 3)"});
    outside([&] { smx::cross_entropy(in, negative, gradient, shape); }, {"target", "-1", "[0, 3)"});
    outside([&] { smx::cross_entropy(in, ignored_and_bad, gradient, shape, {.ignore_index = -1}); },
            {"target", "3", "[0, 3)"});
    const std::list<std::uint64_t> list = {0, 1, 2, 7};
    outside([&] { smx::cross_entropy(in, list, gradient, shape); }, {"target", "7", "[0, 3)"});
    CHECK(untouched(gradient));
}

TEST_CASE("cross_entropy says which size is wrong under targets, gradients and weights of another length") {
    auto gradient = filled(37), fitting = filled(41), batch_gradient = filled(12);
    const std::vector<double> q(37, 0.1), fitting_q(41, 0.1), in(12, 0.5), weights(37, 1.0), four(4, 0.25);
    const smx::shape shape{2, 3, 2};
    const std::vector<int> targets(4, 1), too_many(37, 1);
    invalid([&] { smx::cross_entropy(logits, 3, gradient); },
            {"smx::cross_entropy: ", "gradient", "37", "logits", "41"});
    invalid([&] { smx::cross_entropy(logits, fitting_q, gradient); }, {"gradient", "37", "logits", "41"});
    invalid([&] { smx::cross_entropy(logits, q); }, {"smx::cross_entropy: ", "37", "logits", "41"});
    invalid([&] { smx::cross_entropy(logits, q, fitting); }, {"smx::cross_entropy: ", "37", "logits", "41"});
    invalid([&] { smx::cross_entropy(logits, 3, fitting, {.class_weights = weights}); },
            {"class_weights", "37", "41"});
    invalid([&] { smx::cross_entropy(logits, fitting_q, fitting, options{.class_weights = weights}); },
            {"class_weights", "37", "41"});
    invalid([&] { smx::cross_entropy(in, too_many, batch_gradient, shape); },
            {"smx::cross_entropy: ", "targets", "37", "4"});
    invalid([&] { smx::cross_entropy(in, too_many, shape); }, {"smx::cross_entropy: ", "targets", "37", "4"});
    invalid([&] { smx::cross_entropy(in, targets, gradient, shape); }, {"gradient", "37", "12"});
    invalid([&] { smx::cross_entropy(in, four, batch_gradient, shape); },
            {"smx::cross_entropy: ", "4", "12"});
    invalid([&] { smx::cross_entropy(in, targets, smx::shape{2, 3, 7}); }, {"logits", "12", "42"});
    invalid([&] { smx::cross_entropy(in, targets, batch_gradient, shape, {.class_weights = weights}); },
            {"class_weights", "37", "3"});
    CHECK(untouched(gradient));
    CHECK(untouched(fitting));
    CHECK(untouched(batch_gradient));
}

TEST_CASE("cross_entropy refuses options outside their range under every form") {
    const std::vector<double> x = {1, 2, 3}, q = {0.25, 0.5, 0.25};
    const std::vector<int> targets = {1};
    const auto every_form = [&](const options& bad, std::initializer_list<const char*> parts) {
        auto gradient = filled(3);
        invalid([&] { smx::cross_entropy(x, 1, bad); }, parts);
        invalid([&] { smx::cross_entropy(x, 1, gradient, bad); }, parts);
        invalid([&] { smx::cross_entropy(std::list<double>(3), 1, gradient, bad); }, parts);
        invalid([&] { smx::cross_entropy(x.begin(), x.end(), 1, bad); }, parts);
        invalid([&] { smx::cross_entropy(x.begin(), x.end(), 1, gradient.begin(), bad); }, parts);
        invalid([&] { smx::cross_entropy({1.0, 2.0, 3.0}, 1, bad); }, parts);
        invalid([&] { smx::cross_entropy(x, q, bad); }, parts);
        invalid([&] { smx::cross_entropy(x, q, gradient, bad); }, parts);
        invalid([&] { smx::cross_entropy(x, targets, smx::shape{1, 3, 1}, bad); }, parts);
        invalid([&] { smx::cross_entropy(x, targets, gradient, smx::shape{1, 3, 1}, bad); }, parts);
        invalid([&] { smx::cross_entropy(x, q, gradient, smx::shape{1, 3, 1}, bad); }, parts);
        CHECK(untouched(gradient));
    };
    every_form({.temperature = -0.25}, {"smx::cross_entropy: ", "temperature", "-0.25"});
    every_form({.temperature = 0}, {"smx::cross_entropy: ", "temperature", "0"});
    every_form({.temperature = no_number}, {"smx::cross_entropy: ", "temperature", "nan"});
    every_form({.label_smoothing = -0.25}, {"smx::cross_entropy: ", "label_smoothing", "-0.25"});
    every_form({.label_smoothing = -1e-20}, {"smx::cross_entropy: ", "label_smoothing", "-1e-20"});
    every_form({.label_smoothing = 1.25}, {"smx::cross_entropy: ", "label_smoothing", "1.25"});
    every_form({.label_smoothing = no_number}, {"smx::cross_entropy: ", "label_smoothing", "nan"});
    every_form({.z_loss = -0.25}, {"smx::cross_entropy: ", "z_loss", "-0.25"});
    every_form({.z_loss = no_number}, {"smx::cross_entropy: ", "z_loss", "nan"});
    const std::vector<double> negative = {1, 2, -0.25}, with_nan = {1, no_number, 1};
    every_form({.class_weights = negative}, {"smx::cross_entropy: ", "class_weights", "-0.25"});
    every_form({.class_weights = with_nan}, {"smx::cross_entropy: ", "class_weights", "nan"});
}

TEST_CASE("cross_entropy accepts the ends of the range of its options under the same checks") {
    const std::vector<double> x = {1, 2, 3}, weights = {0, 2, 0};
    CHECK_NOTHROW(smx::cross_entropy(x, 1, {.label_smoothing = 0}));
    CHECK_NOTHROW(smx::cross_entropy(x, 1, {.label_smoothing = 1}));
    CHECK_NOTHROW(smx::cross_entropy(x, 1, {.class_weights = weights}));
    CHECK_NOTHROW(smx::cross_entropy(x, 0));
    CHECK_NOTHROW(smx::cross_entropy(x, 2));
    CHECK_NOTHROW(smx::cross_entropy(x, -100, {.ignore_index = -100}));
    CHECK_NOTHROW(smx::cross_entropy(x, 2, {.ignore_index = 2}));
}

TEST_CASE("softmax_backward and log_softmax_backward say what is wrong before the first write") {
    const std::vector<double> short_up(37, 0.5), up(41, 0.5), in(12, 0.5);
    auto gradient = filled(41), short_gradient = filled(37), batch = filled(12);
    invalid([&] { smx::softmax_backward(logits, short_up, gradient); },
            {"smx::softmax_backward: ", "upstream has 37", "probabilities has 41"});
    invalid([&] { smx::softmax_backward(logits, up, short_gradient); },
            {"smx::softmax_backward: ", "gradient has 37", "probabilities has 41"});
    invalid([&] { smx::log_softmax_backward(logits, short_up, gradient); },
            {"smx::log_softmax_backward: ", "upstream has 37", "log_probabilities has 41"});
    invalid([&] { smx::log_softmax_backward(std::list<double>(41), up, short_gradient); },
            {"smx::log_softmax_backward: ", "gradient has 37", "log_probabilities has 41"});
    const smx::shape fits{2, 3, 2}, other{2, 3, 7};
    invalid([&] { smx::softmax_backward(in, in, batch, other); }, {"probabilities has 12", "42"});
    invalid([&] { smx::softmax_backward(in, up, batch, fits); }, {"upstream has 41", "12"});
    invalid([&] { smx::softmax_backward(in, in, gradient, fits); }, {"gradient has 41", "12"});
    invalid([&] { smx::log_softmax_backward(in, in, batch, other); }, {"log_probabilities has 12", "42"});
    const std::vector<double> each = {1, 2, 0, 1}, too_few = {1, 2, 3};
    invalid([&] { smx::softmax_backward(in, in, batch, fits, each); },
            {"temperature is 0", "greater than 0"});
    invalid([&] { smx::softmax_backward(in, in, batch, fits, too_few); }, {"temperature has 3", "4"});
    for (const double t : {0.0, -0.0, -1.0, -inf, no_number}) {
        invalid([&] { smx::softmax_backward(logits, up, gradient, t); },
                {"smx::softmax_backward: ", "temperature"});
        invalid([&] { smx::log_softmax_backward(logits, up, gradient, t); },
                {"smx::log_softmax_backward: ", "temperature"});
        invalid([&] { smx::softmax_backward(logits.begin(), logits.end(), up.begin(), gradient.begin(), t); },
                {"smx::softmax_backward: ", "temperature"});
        invalid([&] { smx::log_softmax_backward(in, in, batch, fits, t); },
                {"smx::log_softmax_backward: ", "temperature"});
    }
    CHECK(untouched(gradient));
    CHECK(untouched(short_gradient));
    CHECK(untouched(batch));
}

TEST_CASE("kl_divergence says what is wrong before the first write") {
    const std::vector<double> teacher(41, 0.5), short_teacher(37, 0.5), in(12, 0.5), none;
    auto gradient = filled(41), short_gradient = filled(37), batch = filled(12), empty = filled(0);
    using distillation = smx::distillation_options<double>;
    invalid([&] { smx::kl_divergence(logits, short_teacher); },
            {"smx::kl_divergence: ", "teacher_logits has 37", "student_logits has 41"});
    invalid([&] { smx::kl_divergence(logits, short_teacher, gradient); }, {"teacher_logits has 37", "41"});
    invalid([&] { smx::kl_divergence(logits, teacher, short_gradient); },
            {"smx::kl_divergence: ", "gradient has 37", "student_logits has 41"});
    invalid([&] { smx::kl_divergence(none, none); }, {"smx::kl_divergence: ", "logits has 0"});
    invalid([&] { smx::kl_divergence(none, none, empty, smx::shape{3, 0}); }, {"logits has 0"});
    const smx::shape fits{2, 3, 2}, other{2, 3, 7};
    invalid([&] { smx::kl_divergence(in, in, other); }, {"student_logits has 12", "42"});
    invalid([&] { smx::kl_divergence(in, teacher, fits); }, {"teacher_logits has 41", "12"});
    invalid([&] { smx::kl_divergence(in, in, gradient, fits); }, {"gradient has 41", "12"});
    for (const double t : {0.0, -1.0, inf, no_number}) {
        const distillation bad{.temperature = t};
        invalid([&] { smx::kl_divergence(logits, teacher, bad); }, {"smx::kl_divergence: ", "temperature"});
        invalid([&] { smx::kl_divergence(logits, teacher, gradient, bad); }, {"temperature"});
        invalid([&] { smx::kl_divergence(std::list<double>(41), teacher, gradient, bad); }, {"temperature"});
        invalid([&] { smx::kl_divergence(in, in, batch, fits, bad); }, {"temperature"});
    }
    CHECK(untouched(gradient));
    CHECK(untouched(short_gradient));
    CHECK(untouched(batch));
}

namespace {

using matrix = test::strided_view<double, 2>;
using per_row = test::strided_view<double, 1>;

matrix matrix_of(std::vector<double>& elements, std::size_t rows, std::size_t columns) {
    return {elements.data(), {rows, columns}, {static_cast<std::ptrdiff_t>(columns), 1}};
}

struct without_strides : matrix {
    bool is_strided() const { return false; }
};

// Of 41 rows and 3 columns what is asked for, of 37 what is given.
struct views {
    std::vector<double> in = std::vector<double>(123, 0.5), out = filled(123), results = filled(41);
    matrix logits = matrix_of(in, 41, 3), fits = matrix_of(out, 41, 3), narrow = matrix_of(out, 41, 2),
           lower = matrix_of(out, 37, 3);
    per_row short_results{results.data(), {37}, {1}}, fitting_results{results.data(), {41}, {1}};

    bool untouched() const { return ::untouched(out) && ::untouched(results); }
};

} // namespace

TEST_CASE("all functions name the axis and the ranks under an axis outside") {
    views v;
    const std::vector<int> targets(41, 1);
    const auto every_function = [&](auto axis, const char* number) {
        CAPTURE(number);
        const auto out_of_range = [&](const char* function, auto call) {
            outside(call, {function, ": axis is ", number, "outside [-2, 2)"});
        };
        out_of_range("smx::softmax", [&] { smx::softmax(v.logits, v.fits, axis); });
        out_of_range("smx::log_softmax", [&] { smx::log_softmax(v.logits, v.fits, axis, 2); });
        out_of_range("smx::logsumexp", [&] { smx::logsumexp(v.logits, v.results, axis, 2); });
        out_of_range("smx::cross_entropy", [&] { smx::cross_entropy(v.logits, targets, axis); });
        out_of_range("smx::cross_entropy", [&] { smx::cross_entropy(v.logits, v.fits, v.fits, axis); });
        out_of_range("smx::cross_entropy_per_row",
                     [&] { smx::cross_entropy_per_row(v.logits, targets, v.results, v.fits, axis); });
        out_of_range("smx::softmax_backward",
                     [&] { smx::softmax_backward(v.logits, v.logits, v.fits, axis); });
        out_of_range("smx::log_softmax_backward",
                     [&] { smx::log_softmax_backward(v.logits, v.logits, v.fits, axis); });
        out_of_range("smx::kl_divergence", [&] { smx::kl_divergence(v.logits, v.logits, v.fits, axis); });
    };
    every_function(2, "2");
    every_function(-3, "-3");
    every_function(std::size_t(-1), "18446744073709551615");
    every_function(std::numeric_limits<std::int64_t>::min(), "-9223372036854775808");
    CHECK(v.untouched());
}

TEST_CASE("all functions name the argument and both extents under views that do not fit") {
    views v;
    std::vector<int> targets(41, 1);
    const test::strided_view<int, 1> short_targets(targets.data(), {37}, {1});
    invalid([&] { smx::softmax(v.logits, v.lower, 1, 2); },
            {"smx::softmax: ", "probabilities has 37 elements along axis 0", "logits has 41 along axis 0"});
    invalid([&] { smx::softmax(v.logits, v.narrow, 1, 2); },
            {"smx::softmax: ", "probabilities has 2 elements along axis 1", "logits has 3 along axis 1"});
    invalid([&] { smx::log_softmax(v.logits, v.lower, 0); },
            {"smx::log_softmax: ", "log_probabilities has 37", "logits has 41"});
    invalid([&] { smx::logsumexp(v.logits, v.short_results, 1); },
            {"smx::logsumexp: ", "results has 37 elements along axis 0", "logits has 41 along axis 0"});
    invalid([&] { smx::logsumexp(v.logits, v.short_results, 0); },
            {"smx::logsumexp: ", "results has 37 elements along axis 0", "logits has 3 along axis 1"});
    invalid([&] { smx::logsumexp(v.logits, v.results, 0); },
            {"smx::logsumexp: ", "results has 41", "batch of rows has 3"});
    invalid([&] { smx::softmax(v.logits, v.fits, 1, v.short_results); },
            {"smx::softmax: ", "temperature has 37", "logits has 41"});
    invalid([&] { smx::softmax(v.logits, v.fits, 1, filled(37)); },
            {"smx::softmax: ", "temperature has 37", "batch of rows has 41"});
    invalid([&] { smx::cross_entropy(v.logits, short_targets, v.fits, 1); },
            {"smx::cross_entropy: ", "targets has 37", "logits has 41"});
    invalid([&] { smx::cross_entropy(v.logits, std::vector<int>(37, 1), v.fits, 1); },
            {"smx::cross_entropy: ", "targets has 37", "batch of rows has 41"});
    invalid([&] { smx::cross_entropy(v.logits, v.lower, v.fits, 1); },
            {"smx::cross_entropy: ", "target probabilities has 37", "logits has 41"});
    invalid([&] { smx::cross_entropy(v.logits, targets, v.lower, 1); },
            {"smx::cross_entropy: ", "gradient has 37", "logits has 41"});
    invalid([&] { smx::cross_entropy_per_row(v.logits, targets, v.short_results, v.fits, 1); },
            {"smx::cross_entropy_per_row: ", "losses has 37", "logits has 41"});
    invalid([&] { smx::cross_entropy_per_row(v.logits, targets, std::vector<double>(37), 1); },
            {"smx::cross_entropy_per_row: ", "losses has 37", "batch of rows has 41"});
    invalid([&] { smx::cross_entropy_per_row(v.logits, targets, v.results, v.narrow, 1); },
            {"smx::cross_entropy_per_row: ", "gradient has 2", "logits has 3"});
    invalid([&] { smx::softmax_backward(v.logits, v.lower, v.fits, 1); },
            {"smx::softmax_backward: ", "upstream has 37", "probabilities has 41"});
    invalid([&] { smx::log_softmax_backward(v.logits, v.logits, v.narrow, 1); },
            {"smx::log_softmax_backward: ", "gradient has 2", "log_probabilities has 3"});
    invalid([&] { smx::softmax_backward(v.logits, v.logits, v.fits, 1, v.short_results); },
            {"smx::softmax_backward: ", "temperature has 37", "probabilities has 41"});
    invalid([&] { smx::kl_divergence(v.logits, v.lower, v.fits, 1); },
            {"smx::kl_divergence: ", "teacher_logits has 37", "student_logits has 41"});
    invalid([&] { smx::kl_divergence(v.logits, v.logits, v.narrow, 1); },
            {"smx::kl_divergence: ", "gradient has 2", "student_logits has 3"});
    CHECK(v.untouched());
}

TEST_CASE("all functions refuse layouts without strides and bad values under views") {
    views v;
    const without_strides none{v.fits};
    const std::vector<int> targets(41, 1);
    invalid([&] { smx::softmax(none, v.fits, 1); }, {"smx::softmax: ", "logits", "strides"});
    invalid([&] { smx::softmax(v.logits, none, 1); }, {"smx::softmax: ", "probabilities", "strides"});
    invalid([&] { smx::logsumexp(none, v.results, 1); }, {"smx::logsumexp: ", "logits", "strides"});
    invalid([&] { smx::cross_entropy(v.logits, none, v.fits, 1); },
            {"smx::cross_entropy: ", "target probabilities", "strides"});
    invalid([&] { smx::cross_entropy_per_row(v.logits, targets, v.results, none, 1); },
            {"smx::cross_entropy_per_row: ", "gradient", "strides"});
    invalid([&] { smx::softmax_backward(v.logits, none, v.fits, 1); },
            {"smx::softmax_backward: ", "upstream", "strides"});
    invalid([&] { smx::kl_divergence(none, v.logits, v.fits, 1); },
            {"smx::kl_divergence: ", "student_logits", "strides"});
    invalid([&] { smx::softmax_backward(v.logits, v.logits, v.fits, 1, 0); }, {"temperature is 0"});
    invalid([&] { smx::kl_divergence(v.logits, v.logits, v.fits, 1, {.temperature = inf}); },
            {"temperature", "finite"});

    for (const double t : bad_temperatures) {
        std::vector<double> each(41, 2.0);
        each.back() = t;
        const per_row of_rows(each.data(), {41}, {1});
        invalid([&] { smx::softmax(v.logits, v.fits, 1, t); }, {"smx::softmax: ", "temperature"});
        invalid([&] { smx::log_softmax(v.logits, v.fits, 1, of_rows); },
                {"smx::log_softmax: ", "temperature"});
        invalid([&] { smx::logsumexp(v.logits, v.results, 1, each); }, {"smx::logsumexp: ", "temperature"});
    }
    std::vector<int> last_is_bad(41, 1);
    last_is_bad.back() = 7;
    outside([&] { smx::cross_entropy(v.logits, last_is_bad, v.fits, 1); }, {"target is 7", "[0, 3)"});
    outside([&] { smx::cross_entropy_per_row(v.logits, last_is_bad, v.results, v.fits, 1); },
            {"target is 7", "[0, 3)"});
    invalid([&] { smx::cross_entropy(v.logits, targets, v.fits, 1, {.label_smoothing = 1.25}); },
            {"label_smoothing", "1.25"});
    CHECK(v.untouched());
}
