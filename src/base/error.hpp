// The tree of failures.
//
// A failure is an exception below Error; an outcome that the direct caller deals with (end of input, no such
// job, lock taken) is an optional, an enum or a bool instead. Cancelled stands apart, so that `catch
// (Error&)` never swallows a wish to stop. Every type is safe to throw from any thread and to rethrow in
// another.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace vmad::base {

/// Something failed; what() is one complete sentence for a person, without a final full stop.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// A system call failed. what() is "OPERATION PATH: TEXT OF ERRNO", or begins so.
class SystemError : public Error {
  public:
    SystemError(int error_number, std::string_view operation, std::string_view path);
    /// With a sentence of its own: the error of another one, and more about it.
    SystemError(int error_number, const std::string& sentence) : Error(sentence), number_(error_number) {}
    /// The errno value of the call.
    [[nodiscard]] int number() const noexcept { return number_; }

  private:
    int number_;
};

/// An archive is not what it has to be. what() is a sentence to be prefixed with the path. Thrown as it is
/// where no place can be named: a digest that differs does not say where.
class InvalidArchive : public Error {
  public:
    /// `rule` is a stable id in kebab-case, for programs and tests: "content-digest", "extent-md5".
    InvalidArchive(std::string_view rule, std::string_view sentence);
    /// The id of the rule that is broken.
    [[nodiscard]] const std::string& rule() const noexcept { return rule_; }
    /// What it means for a backup and what to do, with what() behind it: wherever an administrator, not the
    /// user of a tool, is told.
    [[nodiscard]] std::string verdict() const;

  private:
    std::string rule_;
};

/// An archive breaks a rule of the format at a known place. what() is "at byte OFFSET: SENTENCE".
class FormatError : public InvalidArchive {
  public:
    /// `offset` counts bytes from the start of the uncompressed archive.
    FormatError(std::uint64_t offset, std::string_view rule, std::string_view sentence);
    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
    /// The same with this text behind it.
    [[nodiscard]] FormatError followed_by(std::string_view text) const;

  private:
    std::uint64_t offset_;
    std::string sentence_;
};

/// A valid input that this program does not handle, for example an archive that holds a guest's RAM.
class Unsupported : public Error {
  public:
    using Error::Error;
};

/// The caller asked for something that makes no sense: bad options, a bad configuration file.
class UsageError : public Error {
  public:
    using Error::Error;
};

/// The work was asked to stop. Not an Error on purpose.
class Cancelled : public std::exception {
  public:
    [[nodiscard]] const char* what() const noexcept override { return "cancelled"; }
};

/// Throws SystemError for the current errno. The one place where errno becomes an exception.
[[noreturn]] void throw_errno(std::string_view operation, std::string_view path);

}  // namespace vmad::base
