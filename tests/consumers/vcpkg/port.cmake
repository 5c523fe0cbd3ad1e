# Runs the port's own portfile.cmake without vcpkg: what it calls is defined here, with the effects that the guide for
# maintainers documents, and what vcpkg checks of an installed port is checked at the end.
# PORT_DIR: the port; WORK: a directory to write to; LICENSE: the file; VERSION: what vcpkg.json must say; GENERATOR,
# MAKE_PROGRAM, COMPILER: as in CMake. Leaves the installed layout in WORK/packages.
cmake_minimum_required(VERSION 3.22)

file(REMOVE_RECURSE ${WORK})
get_filename_component(PORT ${PORT_DIR} NAME)
set(CURRENT_PACKAGES_DIR ${WORK}/packages)
set(build ${WORK}/build)

function(vcpkg_cmake_configure)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
    if(arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "arguments not known here: ${arg_UNPARSED_ARGUMENTS}")
    endif()
    if(NOT VCPKG_BUILD_TYPE STREQUAL "release")
        message(FATAL_ERROR "a header-only port has no debug build, but VCPKG_BUILD_TYPE is '${VCPKG_BUILD_TYPE}'")
    endif()
    execute_process(
        COMMAND
            ${CMAKE_COMMAND} -S ${arg_SOURCE_PATH} -B ${build} -G ${GENERATOR} -DCMAKE_MAKE_PROGRAM=${MAKE_PROGRAM}
            -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR}
            -DCMAKE_ERROR_ON_ABSOLUTE_INSTALL_DESTINATION=ON ${arg_OPTIONS}
        ERROR_VARIABLE errors
        COMMAND_ERROR_IS_FATAL ANY
    )
    if(errors MATCHES "variables were not used by the project:(.*)SMX_")
        message(FATAL_ERROR "the port sets options that CMakeLists.txt does not have: ${errors}")
    endif()
endfunction()

function(vcpkg_cmake_install)
    execute_process(COMMAND ${CMAKE_COMMAND} --build ${build} --target install COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# Moves the package to share/PORT, and with it the way from its files up to the prefix.
function(vcpkg_cmake_config_fixup)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "CONFIG_PATH" "")
    file(GLOB files ${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}/*)
    file(COPY ${files} DESTINATION ${CURRENT_PACKAGES_DIR}/share/${PORT})
    get_filename_component(directory ${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH} DIRECTORY)
    file(REMOVE_RECURSE ${directory})
    set(up "get_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\n")
    foreach(file IN LISTS files)
        get_filename_component(name ${file} NAME)
        file(READ ${CURRENT_PACKAGES_DIR}/share/${PORT}/${name} text)
        string(REPLACE "${up}${up}${up}" "${up}${up}" text "${text}")
        file(WRITE ${CURRENT_PACKAGES_DIR}/share/${PORT}/${name} "${text}")
    endforeach()
endfunction()

function(vcpkg_fixup_pkgconfig)
    find_program(pkg_config NAMES pkg-config pkgconf)
    if(pkg_config)
        set(ENV{PKG_CONFIG_PATH} ${CURRENT_PACKAGES_DIR}/share/pkgconfig)
        execute_process(COMMAND ${pkg_config} --print-errors --exists ${PORT} COMMAND_ERROR_IS_FATAL ANY)
    endif()
endfunction()

function(vcpkg_install_copyright)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
    configure_file(${arg_FILE_LIST} ${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright COPYONLY)
endfunction()

include(${PORT_DIR}/portfile.cmake)

foreach(directory IN ITEMS debug lib bin share/cmake)
    if(EXISTS ${CURRENT_PACKAGES_DIR}/${directory})
        message(FATAL_ERROR "a header-only port must not install ${directory}/")
    endif()
endforeach()
set(needed include/softmax.hpp share/${PORT}/copyright share/${PORT}/usage share/${PORT}/softmaxConfig.cmake)
foreach(file IN LISTS needed)
    if(NOT EXISTS ${CURRENT_PACKAGES_DIR}/${file})
        message(FATAL_ERROR "not installed: ${file}")
    endif()
endforeach()
file(GLOB_RECURSE files ${CURRENT_PACKAGES_DIR}/*)
foreach(file IN LISTS files)
    file(READ ${file} text)
    string(FIND "${text}" "${WORK}" place)
    if(NOT place EQUAL -1)
        message(FATAL_ERROR "${file} holds an absolute path")
    endif()
endforeach()
execute_process(
    COMMAND ${CMAKE_COMMAND} -E compare_files ${LICENSE} ${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright
    COMMAND_ERROR_IS_FATAL ANY
)

file(READ ${PORT_DIR}/vcpkg.json manifest)
string(JSON name GET "${manifest}" name)
string(JSON version GET "${manifest}" version)
if(NOT name STREQUAL PORT OR NOT version STREQUAL VERSION)
    message(FATAL_ERROR "vcpkg.json says ${name} ${version}, the port is ${PORT}, the library ${VERSION}")
endif()
