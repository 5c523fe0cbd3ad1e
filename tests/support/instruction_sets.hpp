// Every instruction set that the machine has, one after the other.
#ifndef SMX_TESTS_SUPPORT_INSTRUCTION_SETS_HPP
#define SMX_TESTS_SUPPORT_INSTRUCTION_SETS_HPP

#include <softmax.hpp>

template <class Check>
void on_every_instruction_set(Check check) {
    using smx::detail::instruction_set;
    const instruction_set best = smx::detail::use_instruction_set(instruction_set::avx512);
    for (const auto set : {instruction_set::avx512, instruction_set::avx2, instruction_set::baseline}) {
        if (smx::detail::use_instruction_set(set) == set) {
            check();
        }
    }
    smx::detail::use_instruction_set(best);
}

#endif
