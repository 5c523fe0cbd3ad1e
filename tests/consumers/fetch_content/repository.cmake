# Puts ARCHIVE into a new git repository, REPOSITORY, tagged TAG. Not the repository of this checkout: that lacks what
# is not committed yet, and an unpacked archive has none.
cmake_minimum_required(VERSION 3.22)
file(REMOVE_RECURSE ${REPOSITORY})
file(ARCHIVE_EXTRACT INPUT ${ARCHIVE} DESTINATION ${REPOSITORY})
set(author -c user.name=test -c user.email=test@localhost -c commit.gpgsign=false -c tag.gpgsign=false)
foreach(command IN ITEMS "init --quiet" "add ." "commit --quiet -m all" "tag ${TAG}")
    separate_arguments(command)
    execute_process(
        COMMAND ${GIT} ${author} ${command} WORKING_DIRECTORY ${REPOSITORY} COMMAND_ERROR_IS_FATAL ANY
    )
endforeach()
