# Runs a program and checks its exit status and its output, which ctest alone cannot do together:
#   cmake -DSTATUS=<status> [-DIN=<text>] [-DOUT=<regex>] [-DERR=<regex>] -P expect.cmake -- <program> [argument ...]
set(command "")
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE ${last})
    if(DEFINED after_dashes)
        list(APPEND command "${CMAKE_ARGV${i}}")
    elseif(CMAKE_ARGV${i} STREQUAL "--")
        set(after_dashes ON)
    endif()
endforeach()
execute_process(
    COMMAND ${CMAKE_COMMAND} -E echo "${IN}"
    COMMAND ${command}
    RESULT_VARIABLE status
    OUTPUT_VARIABLE out
    ERROR_VARIABLE err
)
message("${out}${err}")
if(NOT status STREQUAL STATUS)
    message(FATAL_ERROR "exit status ${status}, expected ${STATUS}")
endif()
if(NOT out MATCHES "${OUT}")
    message(FATAL_ERROR "standard output does not match ${OUT}")
endif()
if(NOT err MATCHES "${ERR}")
    message(FATAL_ERROR "standard error does not match ${ERR}")
endif()
