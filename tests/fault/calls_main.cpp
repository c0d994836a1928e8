#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>
#include <string_view>

#include <doctest/doctest.h>

#include "call_matrix.hpp"
#include "loop_volume.hpp"

int main(int argc, char** argv) {
    // A daemon that starts here may take this program for its own, and start it as a worker.
    if (argc > 1 && std::string_view(argv[1]) == "worker") return 1;
    vmad::fault::LoopVolume::leave_mounts_of_others();
    const int result = doctest::Context(argc, argv).run();
    std::fputs(vmad::fault::matrix_text().c_str(), stdout);
    return result;
}
