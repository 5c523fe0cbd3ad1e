# cmake -DCOMPILER=clang++-19 -DOUTPUT=folder -P make.cmake: the page, whole and static.
cmake_minimum_required(VERSION 3.22)
set(here ${CMAKE_CURRENT_LIST_DIR})
file(MAKE_DIRECTORY ${OUTPUT})
execute_process(
    COMMAND ${COMPILER} --target=wasm32-wasi -msimd128 -std=c++20 -O2 -fno-exceptions -mexec-model=reactor
            -I${here}/../../include ${here}/page.cpp -Wl,--strip-all -o ${OUTPUT}/page.wasm
    COMMAND_ERROR_IS_FATAL ANY
)
file(READ ${OUTPUT}/page.wasm hex HEX)
file(WRITE ${OUTPUT}/module.js "const smxModule = \"${hex}\";\n")
file(REMOVE ${OUTPUT}/page.wasm)
file(COPY ${here}/index.html ${here}/page.js DESTINATION ${OUTPUT})
