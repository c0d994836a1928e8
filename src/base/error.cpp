#include "base/error.hpp"

#include <cerrno>
#include <system_error>

#include <fmt/format.h>

namespace vmad::base {

SystemError::SystemError(int error_number, std::string_view operation, std::string_view path)
    : Error(fmt::format("{} {}: {}", operation, path, std::generic_category().message(error_number))),
      number_(error_number) {}

FormatError::FormatError(std::uint64_t offset, std::string_view rule)
    : Error(fmt::format("at byte {}: {}", offset, rule)), offset_(offset) {}

void throw_errno(std::string_view operation, std::string_view path) {
    throw SystemError(errno, operation, path);
}

}  // namespace vmad::base
