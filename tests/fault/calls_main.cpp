#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>

#include <doctest/doctest.h>

#include "call_matrix.hpp"

int main(int argc, char** argv) {
    const int result = doctest::Context(argc, argv).run();
    std::fputs(vmad::fault::matrix_text().c_str(), stdout);
    return result;
}
