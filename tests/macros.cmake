# After the include only the include guards, the version and the switches that were given are defined.
cmake_minimum_required(VERSION 3.22)
execute_process(
    COMMAND ${COMPILER} -std=c++20 -dM -E -x c++ ${INCLUDE}/softmax.hpp
    OUTPUT_VARIABLE macros
    COMMAND_ERROR_IS_FATAL ANY
)
string(REGEX MATCHALL "#define SMX_[A-Za-z0-9_]+" found "${macros}")
list(FILTER found EXCLUDE REGEX "_HPP$|SMX_VERSION_(MAJOR|MINOR|PATCH)$")
if(found)
    message(FATAL_ERROR "left defined: ${found}")
endif()
