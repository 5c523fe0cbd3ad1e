# The single header has all parts, each standard header once, the same bytes wherever it is made from whatever line
# endings, and means to the compiler what the parts mean.
# SOURCE: the repository; WORK: a directory to write to; COMPILER: GCC or Clang. Leaves WORK/include/softmax.hpp.
cmake_minimum_required(VERSION 3.22)

function(write_single_header source output)
    execute_process(
        COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -P ${source}/cmake/single_header.cmake COMMAND_ERROR_IS_FATAL ANY
    )
endfunction()

file(REMOVE_RECURSE ${WORK})
set(single ${WORK}/include/softmax.hpp)
write_single_header(${SOURCE} ${single})

set(copy ${WORK}/as_on_windows)
file(GLOB_RECURSE files RELATIVE ${SOURCE} ${SOURCE}/include/*.hpp)
foreach(file IN LISTS files ITEMS LICENSE cmake/single_header.cmake)
    file(READ ${SOURCE}/${file} text)
    string(REPLACE "\n" "\r\n" text "${text}")
    file(WRITE ${copy}/${file} "${text}")
endforeach()
write_single_header(${copy} ${copy}/single.hpp)
file(SHA256 ${single} hash)
file(SHA256 ${copy}/single.hpp hash_of_copy)
if(NOT hash STREQUAL hash_of_copy)
    message(FATAL_ERROR "not the same bytes: ${single} and ${copy}/single.hpp")
endif()

file(READ ${single} text)
foreach(file IN LISTS files)
    string(REGEX REPLACE "^include/" "" name ${file})
    if(NOT text MATCHES "\n// ==== ${name}\n")
        message(FATAL_ERROR "softmax.hpp does not bring in ${name}")
    endif()
endforeach()
string(REGEX MATCHALL "\n *# *include[^\n]*" includes "${text}")
list(LENGTH includes count)
list(REMOVE_DUPLICATES includes)
list(LENGTH includes count_of_different)
if(NOT count EQUAL count_of_different OR includes MATCHES "\"")
    message(FATAL_ERROR "an #include is there twice, or names an own header: ${includes}")
endif()

# preprocess(directory out [flag ...]): the tokens, one space between any two, and our macros defined at the end.
function(preprocess directory out)
    foreach(mode IN ITEMS -P -dM)
        execute_process(
            COMMAND ${COMPILER} -std=c++20 ${ARGN} -E ${mode} -x c++ ${directory}/softmax.hpp
            OUTPUT_VARIABLE result_${mode}
            COMMAND_ERROR_IS_FATAL ANY
        )
    endforeach()
    string(REGEX REPLACE "[ \t\n]+" " " tokens "${result_-P}")
    string(STRIP "${tokens}" tokens)
    string(REGEX MATCHALL "#define SMX_[^\n]*" macros "${result_-dM}")
    list(SORT macros)
    set(${out} "${tokens} ${macros}" PARENT_SCOPE)
endfunction()

set(switches none -fno-exceptions -DSMX_NO_VECTOR_EXTENSIONS -DSMX_STRICT_BITS -DSMX_INSTRUCTION_SET=0 -ffast-math)
foreach(switch IN LISTS switches)
    string(REPLACE none "" flag ${switch})
    preprocess(${SOURCE}/include of_parts ${flag})
    preprocess(${WORK}/include of_single ${flag})
    if(NOT of_parts STREQUAL of_single)
        message(FATAL_ERROR "the parts and the single header differ after preprocessing, switch: ${switch}")
    endif()
endforeach()
