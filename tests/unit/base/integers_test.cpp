#include "base/integers.hpp"

#include <doctest/doctest.h>

using namespace vmad::base;

TEST_CASE("loads undo stores, and the bytes stand in the named order") {
    std::array<std::byte, 9> raw{};
    std::byte* odd = raw.data() + 1;
    store_be<std::uint64_t>(odd, 0x0102030405060708);
    CHECK(odd[0] == std::byte{1});
    CHECK(odd[7] == std::byte{8});
    CHECK(load_be<std::uint64_t>(odd) == 0x0102030405060708);
    CHECK(load_le<std::uint64_t>(odd) == 0x0807060504030201);
    store_le<std::uint16_t>(odd, 0x1234);
    CHECK(odd[0] == std::byte{0x34});
    CHECK(load_be<std::uint16_t>(odd) == 0x3412);
}

TEST_CASE("checked sums and products notice what does not fit") {
    CHECK(checked_add<std::uint32_t>(1, 2) == 3u);
    CHECK_FALSE(checked_add<std::uint32_t>(UINT32_MAX, 1));
    CHECK_FALSE(checked_multiply<std::uint64_t>(1ull << 32, 1ull << 32));
    CHECK(divide_up<std::uint64_t>(UINT64_MAX, 2) == (1ull << 63));
    CHECK(divide_up<std::uint32_t>(0, 64) == 0);
    CHECK(round_up<std::uint32_t>(12289, 512) == 12800);
}
