#include "base/size_text.hpp"

#include <doctest/doctest.h>

#include "base/error.hpp"

using namespace vmad::base;

TEST_CASE("sizes are numbers with an optional unit") {
    CHECK(parse_size("0") == 0);
    CHECK(parse_size("512") == 512);
    CHECK(parse_size("64K") == 65536);
    CHECK(parse_size("256M") == std::uint64_t{256} << 20);
    CHECK(parse_size("3G") == std::uint64_t{3} << 30);
    CHECK(parse_size("18446744073709551615") == UINT64_MAX);
    CHECK(parse_size("17179869183G") == UINT64_MAX - (std::uint64_t{1} << 30) + 1);
}

TEST_CASE("what is no size is refused with what to write") {
    for (const auto* text : {"", "M", "-1", "+1", " 1", "1 ", "1.5G", "1k", "1MB", "1T", "0x10", "G1", "1\n"})
        CHECK_THROWS_WITH_AS(
            (void)parse_size(text),
            (std::string("\"") + text + "\" is no size: write a number and K, M or G, for example 256M")
                .c_str(),
            vmad::base::UsageError);
    for (const auto* text :
         {"18446744073709551616", "18446744073709551616G", "17179869184G", "99999999999999999K"})
        CHECK_THROWS_WITH_AS((void)parse_size(text),
                             (std::string("\"") + text + "\" is more than any machine has").c_str(),
                             vmad::base::UsageError);
}

TEST_CASE("a size is spelled so that it reads as the same") {
    for (const auto* text : {"0", "1", "1023", "1K", "1025", "16M", "64G", "1024G", "17179869183G"})
        CHECK(size_text(parse_size(text)) == text);
    CHECK(size_text(std::uint64_t{256} << 20) == "256M");
}
