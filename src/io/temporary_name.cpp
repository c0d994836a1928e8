#include "io/temporary_name.hpp"

#include <sys/random.h>

#include <cstdint>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::io {

std::string random_hex() {
    std::uint64_t random = 0;
    if (::getrandom(&random, sizeof random, 0) != sizeof random) base::throw_errno("read", "random bytes");
    return fmt::format("{:016x}", random);
}

}  // namespace vmad::io
