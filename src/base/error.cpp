#include "base/error.hpp"

#include <cerrno>
#include <system_error>

#include <fmt/format.h>

namespace vmad::base {

SystemError::SystemError(int error_number, std::string_view operation, std::string_view path)
    : Error(fmt::format("{} {}: {}", operation, path, std::generic_category().message(error_number))),
      number_(error_number) {}

InvalidArchive::InvalidArchive(std::string_view rule, std::string_view sentence)
    : Error(std::string(sentence)), rule_(rule) {}

std::string InvalidArchive::verdict() const {
    return fmt::format("this backup cannot be restored as it is; make another ({})", what());
}

FormatError::FormatError(std::uint64_t offset, std::string_view rule, std::string_view sentence)
    : InvalidArchive(rule, fmt::format("at byte {}: {}", offset, sentence)),
      offset_(offset),
      sentence_(sentence) {}

FormatError FormatError::followed_by(std::string_view text) const {
    return {offset_, rule(), sentence_ + std::string(text)};
}

void throw_errno(std::string_view operation, std::string_view path) {
    throw SystemError(errno, operation, path);
}

}  // namespace vmad::base
