#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>
#include <string_view>

#include <doctest/doctest.h>

#include "call_matrix.hpp"

int main(int argc, char** argv) {
    // A daemon that starts here may take this program for its own, and start it as a worker.
    if (argc > 1 && std::string_view(argv[1]) == "worker") return 1;
    const int result = doctest::Context(argc, argv).run();
    std::fputs(vmad::fault::matrix_text().c_str(), stdout);
    return result;
}
