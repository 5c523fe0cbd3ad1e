// Views with strides on their way to the engine: their checks, the layout of their rows, and views with one value per row.
#ifndef SMX_DETAIL_VIEWS_HPP
#define SMX_DETAIL_VIEWS_HPP

#include "../options.hpp"
#include "../shape.hpp"
#include "backward_batches.hpp"
#include "contract.hpp"
#include "divergences.hpp"
#include "elements.hpp"
#include "forward_batches.hpp"
#include "layout.hpp"
#include "loss_batches.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

template <class V>
inline constexpr std::size_t rank_of = std::remove_cvref_t<V>::rank();

template <class V>
using view_element = std::remove_cv_t<std::remove_pointer_t<view_handle<std::remove_cvref_t<V>>>>;

template <class... V>
using view_real_of = real_t<view_element<V>...>;

template <class V>
concept number_view = strided_view<V> && number<view_element<V>> && (rank_of<V> != 0);

template <class V>
concept writable_view = strided_view<V> && real_number<view_element<V>> &&
                        !std::is_const_v<std::remove_pointer_t<view_handle<std::remove_cvref_t<V>>>>;

template <class V, class In>
concept number_view_like = number_view<V> && rank_of<V> == rank_of<In>;

template <class Out, class In>
concept writable_view_like = writable_view<Out> && rank_of<Out> == rank_of<In>;

// What there is one of per row of a view: a view without the axis, or any range.
template <class Values, class In>
concept row_view_of = strided_view<Values> && rank_of<Values> + 1 == rank_of<In>;

template <class Out, class In>
concept writable_per_row_of = writable_row<Out> || (writable_view<Out> && row_view_of<Out, In>);

template <class T, class Real, class In>
concept temperatures_for_view =
    temperatures_for<T, Real> || (row_view_of<T, In> && temperature_for<view_element<T>, Real>);

template <class Targets, class In>
concept indices_for_view =
    class_index_row<Targets> || (row_view_of<Targets, In> && class_index<view_element<Targets>>);

template <class Targets, class In>
concept probabilities_for_view = number_view<In> && strided_view<Targets> &&
                                 real_number<view_element<Targets>> && rank_of<Targets> == rank_of<In>;

template <class Targets, class In>
concept targets_for_view = indices_for_view<Targets, In> || probabilities_for_view<Targets, In>;

template <class T>
concept axis_index = std::integral<T> && number<T>;

// (Without a type for what is no view: Clang looks at the types of a function before its constraints.)
template <class In, class Targets>
consteval auto view_loss_real() {
    if constexpr (!number_view<In>) {
        return no_type{};
    } else if constexpr (probabilities_for_view<Targets, In>) {
        return std::type_identity<view_real_of<In, Targets>>{};
    } else {
        return std::type_identity<view_real_of<In>>{};
    }
}
template <class In, class Targets>
using view_loss_real_of = typename decltype(view_loss_real<In, Targets>())::type;

// Counted from the left.
template <axis_index Axis>
constexpr std::size_t checked_axis(const char* function, Axis axis, std::size_t rank) {
    const bool from_right = axis < Axis{0};
    const std::uintmax_t place = from_right
                                     ? static_cast<std::uintmax_t>(-(static_cast<std::intmax_t>(axis) + 1))
                                     : static_cast<std::uintmax_t>(axis);
    if (place >= rank) {
        violate_axis(function, to_text(axis).c_str(), rank);
    }
    const auto left = static_cast<std::size_t>(place);
    return from_right ? rank - 1 - left : left;
}

template <class V>
constexpr std::size_t extent_of(const V& view, std::size_t r) {
    return static_cast<std::size_t>(view.extent(r));
}
template <class V>
constexpr std::ptrdiff_t stride_of(const V& view, std::size_t r) {
    if constexpr (rank_of<V> == 0) {
        return 0; // the mappings of such an mdspan have no stride()
    } else {
        return static_cast<std::ptrdiff_t>(view.stride(r));
    }
}

template <class V>
constexpr void require_strides(const char* function, const char* argument, const V& view) {
    if constexpr (requires { view.is_strided(); }) {
        if (!view.is_strided()) {
            violate_strides(function, argument);
        }
    }
}

// A view of the extents of another.
template <class V, class Other>
constexpr void require_view(const char* function, const char* argument, const V& view,
                            const char* name_of_other, const Other& other) {
    for (std::size_t r = 0; r != rank_of<Other>; ++r) {
        if (extent_of(view, r) != extent_of(other, r)) {
            violate_extent_of_view(function, argument, extent_of(view, r), r, name_of_other,
                                   extent_of(other, r), r);
        }
    }
    require_strides(function, argument, view);
}

// The rows along an axis, which has been checked, of views of the same extents.
template <class In, class... Views>
constexpr auto layout_of_views(const char* function, std::size_t axis, const In& logits,
                               const Views&... views) {
    constexpr std::size_t rank = rank_of<In>, size = 1 + sizeof...(Views);
    const std::ptrdiff_t element[] = {stride_of(logits, axis), stride_of(views, axis)...};
    layout<rank == 1 ? 1 : rank - 1, size> rows(extent_of(logits, axis), element);
    std::size_t elements = extent_of(logits, axis);
    for (std::size_t r = 0; r != rank; ++r) {
        if (r != axis) {
            const std::ptrdiff_t stride[] = {stride_of(logits, r), stride_of(views, r)...};
            elements = checked_product(function, elements, extent_of(logits, r));
            rows.add_index(extent_of(logits, r), stride);
        }
    }
    return rows;
}

// The elements of a view with one value per row, in the order of the rows.
template <class T, std::size_t D>
class view_iterator {
public:
    using value_type = std::remove_cv_t<T>;
    using difference_type = std::ptrdiff_t;

    constexpr view_iterator(T* data, const layout<D, 1>& places) : data_(data), places_(places) {}

    constexpr T& operator*() const { return data_[places_.offset(position_, 0)]; }
    constexpr view_iterator& operator++() {
        ++position_;
        return *this;
    }
    friend constexpr bool operator==(const view_iterator& a, std::size_t end) { return a.position_ == end; }

private:
    T* data_;
    layout<D, 1> places_;
    std::size_t position_ = 0;
};

// One value per row, as a row of values: of a range, or of a view, whose extents are checked.
template <class Values, class In>
constexpr auto values_of(const char* function, const char* argument, Values& values,
                         const char* name_of_logits, const In& logits, std::size_t axis) {
    if constexpr (strided_view<Values>) {
        constexpr std::size_t rank = rank_of<Values>;
        const std::ptrdiff_t one[] = {1};
        layout<rank == 0 ? 1 : rank, 1> places(1, one);
        for (std::size_t r = 0; r != rank; ++r) {
            const std::size_t of_logits = r < axis ? r : r + 1;
            if (extent_of(values, r) != extent_of(logits, of_logits)) {
                violate_extent_of_view(function, argument, extent_of(values, r), r, name_of_logits,
                                       extent_of(logits, of_logits), of_logits);
            }
            const std::ptrdiff_t stride[] = {stride_of(values, r)};
            places.add_index(extent_of(values, r), stride);
        }
        require_strides(function, argument, values);
        using iterator = view_iterator<std::remove_pointer_t<view_handle<Values>>, rank == 0 ? 1 : rank>;
        return row<iterator, std::size_t>{iterator(values.data_handle(), places), places.rows()};
    } else {
        return row_of(values);
    }
}

// A temperature as map_batch and reduce_batch take it.
template <class T, class In>
constexpr decltype(auto) temperature_of_view(const char* function, T& temperature, const char* name_of_logits,
                                             const In& logits, std::size_t axis) {
    if constexpr (number<std::remove_cvref_t<T>>) {
        return static_cast<const T&>(temperature);
    } else {
        return values_of(function, "temperature", temperature, name_of_logits, logits, axis);
    }
}

template <class Route, class In, class Out, class T>
constexpr void map_view(auto&& exec, In& logits, Out& results, axis_index auto axis, T& temperature) {
    const std::size_t along = checked_axis(Route::function, axis, rank_of<In>);
    require_strides(Route::function, "logits", logits);
    require_view(Route::function, Route::output, results, "logits", logits);
    map_batch<Route>(exec, logits.data_handle(), results.data_handle(),
                     layout_of_views(Route::function, along, logits, results),
                     temperature_of_view(Route::function, temperature, "logits", logits, along));
}

template <class In, class Out, class T>
constexpr void reduce_view(auto&& exec, In& logits, Out& results, axis_index auto axis, T& temperature) {
    constexpr const char* function = "logsumexp";
    const std::size_t along = checked_axis(function, axis, rank_of<In>);
    require_strides(function, "logits", logits);
    const auto rows = layout_of_views(function, along, logits);
    const auto out = values_of(function, "results", results, "logits", logits, along);
    require_size(function, "results", size_of(out), "the batch of rows", rows.rows());
    reduce_batch(exec, logits.data_handle(), out.first, rows,
                 temperature_of_view(function, temperature, "logits", logits, along));
}

// Where the gradient of views goes, if there is one.
template <writable_view Out>
constexpr auto gradient_of_view(Out& gradient) {
    return gradient_to<view_element<Out>, view_element<Out>*>{gradient.data_handle()};
}
constexpr no_gradient gradient_of_view(const no_gradient&) { return {}; }

// Where it stands; that of the logits if there is none.
template <class Gradient, class In>
constexpr const auto& place_of_gradient(const char* function, const Gradient& gradient,
                                        const char* name_of_logits, const In& logits) {
    if constexpr (strided_view<Gradient>) {
        require_view(function, "gradient", gradient, name_of_logits, logits);
        return gradient;
    } else {
        return logits;
    }
}

// visit(batch) for views; gradient: a view, or no_gradient.
template <class Real, class In, class Targets, class Gradient>
constexpr auto with_losses_of_view(const char* function, In& logits, Targets& targets, Gradient& gradient,
                                   std::size_t axis, const cross_entropy_options<Real>& options,
                                   reduction reduce, auto visit) {
    const auto& out = place_of_gradient(function, gradient, "logits", logits);
    const auto to = gradient_of_view(gradient);
    require_strides(function, "logits", logits);
    if constexpr (probabilities_for_view<Targets, In>) {
        require_view(function, "target probabilities", targets, "logits", logits);
        const auto rows = layout_of_views(function, axis, logits, targets, out);
        return visit(
            batch_of_losses<Real>(rows, logits.data_handle(), targets.data_handle(), to, options, reduce));
    } else {
        const auto rows = layout_of_views(function, axis, logits, out);
        const auto target = values_of(function, "targets", targets, "logits", logits, axis);
        return visit(batch_of_losses<Real>(rows, logits.data_handle(), target, to, options, reduce));
    }
}

template <class Real, class In>
constexpr Real loss_of_view(auto&& exec, In& logits, auto& targets, auto&& gradient, axis_index auto axis,
                            const cross_entropy_options<Real>& options) {
    constexpr const char* function = "cross_entropy";
    return with_losses_of_view(function, logits, targets, gradient, checked_axis(function, axis, rank_of<In>),
                               options, options.reduce,
                               [&](const auto& batch) { return reduced_loss<Real>(exec, batch); });
}

template <class Real, class In>
constexpr void losses_of_view(auto&& exec, In& logits, auto& targets, auto& losses, auto&& gradient,
                              axis_index auto axis, const cross_entropy_options<Real>& options) {
    constexpr const char* function = "cross_entropy_per_row";
    const std::size_t along = checked_axis(function, axis, rank_of<In>);
    const auto out = values_of(function, "losses", losses, "logits", logits, along);
    with_losses_of_view(
        function, logits, targets, gradient, along, options, reduction::sum, [&](const auto& batch) {
            require_size(function, "losses", size_of(out), "the batch of rows", batch.rows.rows());
            losses_per_row<Real>(exec, batch, out.first);
        });
}

template <class Route, class P, class U, class G, class T>
constexpr void backward_view(auto&& exec, P& outputs, U& upstream, G& gradient, axis_index auto axis,
                             T& temperature) {
    constexpr const char* function = Route::function;
    const std::size_t along = checked_axis(function, axis, rank_of<P>);
    require_strides(function, Route::input, outputs);
    require_view(function, "upstream", upstream, Route::input, outputs);
    require_view(function, "gradient", gradient, Route::input, outputs);
    backward_batch_of<Route>(exec, outputs.data_handle(), upstream.data_handle(), gradient.data_handle(),
                             layout_of_views(function, along, outputs, upstream, gradient),
                             temperature_of_view(function, temperature, Route::input, outputs, along));
}

template <class Real, class In, class Teacher, class Gradient>
constexpr Real divergence_of_view(auto&& exec, In& student, Teacher& teacher, Gradient&& gradient,
                                  axis_index auto axis, const distillation_options<Real>& options) {
    constexpr const char* function = "kl_divergence";
    constexpr const char* logits = "student_logits";
    const std::size_t along = checked_axis(function, axis, rank_of<In>);
    require_strides(function, logits, student);
    require_view(function, "teacher_logits", teacher, logits, student);
    const auto& out = place_of_gradient(function, gradient, logits, student);
    const auto rows = layout_of_views(function, along, student, teacher, out);
    return reduced_loss<Real>(exec,
                              batch_of_divergences<Real>(rows, student.data_handle(), teacher.data_handle(),
                                                         gradient_of_view(gradient), options));
}

} // namespace smx::inline SMX_ABI::detail

#endif
