# Writes the whole library as one file: cmake -DOUTPUT=<file> -P cmake/single_header.cmake
#
# The order is that of the #include lines in softmax.hpp and its parts: the first one of an own header becomes that
# header, with its include guard; the first one of a standard header stays where it is; later ones go. What stands in
# an #if block is kept in that block and counts as not seen outside it. No line depends on where the sources or the
# output are, and lines end in LF everywhere.
cmake_minimum_required(VERSION 3.22)

get_filename_component(root "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
set(text "")
set(seen "")

# Texts are cut line by line and kept in strings: as a CMake list, code would lose its semicolons and brackets.
function(read_text file out)
    file(READ "${file}" content)
    string(REPLACE "\r" "" content "${content}")
    set(${out} "${content}" PARENT_SCOPE)
endfunction()

# expand(header conditional): appends the header to `text` and what it includes to `seen`, both in the caller's scope.
# header: its name below include/; conditional: whether it was included inside an #if block.
function(expand header conditional)
    get_filename_component(directory "${root}/include/${header}" DIRECTORY)
    read_text("${root}/include/${header}" rest)
    string(APPEND text "\n// ==== ${header}")
    string(PREPEND rest "\n")
    set(depth 0)
    while(rest MATCHES "\n[ \t]*#[ \t]*(include|if|endif)([^\n]*)")
        set(directive "${CMAKE_MATCH_1}")
        set(argument "${CMAKE_MATCH_2}")
        string(LENGTH "${CMAKE_MATCH_0}" length)
        string(FIND "${rest}" "${CMAKE_MATCH_0}" begin)
        math(EXPR end "${begin} + ${length}")
        string(SUBSTRING "${rest}" 0 ${begin} before)
        string(SUBSTRING "${rest}" ${begin} ${length} line)
        string(SUBSTRING "${rest}" ${end} -1 rest)
        string(APPEND text "${before}")

        if(directive STREQUAL "if")
            if(depth EQUAL 0 AND NOT argument MATCHES "^ndef SMX_[A-Z0-9_]+_HPP$")
                message(FATAL_ERROR "include/${header}: no include guard before '#if${argument}'")
            endif()
            math(EXPR depth "${depth} + 1")
            string(APPEND text "${line}")
            continue()
        elseif(directive STREQUAL "endif")
            math(EXPR depth "${depth} - 1")
            string(APPEND text "${line}")
            continue()
        endif()

        if(argument MATCHES "^[ \t]*\"([^\"]+)\"")
            get_filename_component(path "${CMAKE_MATCH_1}" ABSOLUTE BASE_DIR "${directory}")
            file(RELATIVE_PATH name "${root}/include" "${path}")
        elseif(argument MATCHES "^[ \t]*<([^>]+)>")
            set(path "")
            set(name "<${CMAKE_MATCH_1}>")
        else()
            message(FATAL_ERROR "include/${header}: neither \"name\" nor <name>: '#include${argument}'")
        endif()
        if(name IN_LIST seen)
            continue()
        endif()
        set(inner ${conditional})
        if(depth GREATER 1) # 1: inside the guard
            set(inner TRUE)
        endif()
        if(NOT inner)
            list(APPEND seen "${name}")
        endif()
        if(path)
            expand("${name}" ${inner})
        else()
            string(APPEND text "${line}")
        endif()
    endwhile()
    string(APPEND text "${rest}")
    set(text "${text}" PARENT_SCOPE)
    set(seen "${seen}" PARENT_SCOPE)
endfunction()

if(NOT OUTPUT)
    message(FATAL_ERROR "usage: cmake -DOUTPUT=<file> -P single_header.cmake")
endif()

expand(softmax.hpp FALSE)
string(REGEX REPLACE "\n\n\n+" "\n\n" text "${text}") # where #include lines were

set(version "")
foreach(part IN ITEMS MAJOR MINOR PATCH)
    string(REGEX MATCH "\n#define SMX_VERSION_${part} ([0-9]+)" line "${text}")
    list(APPEND version "${CMAKE_MATCH_1}")
endforeach()
list(JOIN version "." version)
# Who copies one file leaves the license behind, so it is part of the file.
read_text("${root}/LICENSE" license)
string(REGEX REPLACE "\n+$" "" license "${license}")
string(REPLACE "\n" "\n// " license "\n${license}")
string(REPLACE "// \n" "//\n" license "${license}")
string(PREPEND text "// smx ${version}, the whole library in this one file, written from its parts: change those, not this.\n//"
               "${license}\n")
file(CONFIGURE OUTPUT "${OUTPUT}" CONTENT "@text@" @ONLY NEWLINE_STYLE UNIX)
