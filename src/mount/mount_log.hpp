// What a mount has to say: on standard error as long as somebody is there to read it, then in the journal.
// Any thread.
#pragma once

#include <mutex>
#include <set>
#include <string>

#include "ctl/text/console.hpp"

namespace vmad::mount {

class MountLog {
  public:
    /// `console` outlives it; `archive` is a field of the records in the journal.
    MountLog(ctl::Console& console, std::string archive) : console_(console), archive_(std::move(archive)) {}

    /// From here on, nothing is written to the console.
    void use_journal() noexcept;

    /// Writes a warning, unless it was written before. What cannot be written is lost.
    void warn_once(const std::string& text) noexcept;

  private:
    void write(const std::string& text) noexcept;

    ctl::Console& console_;
    std::string archive_;
    std::mutex mutex_;
    bool to_journal_ = false;
    std::set<std::string> written_;
};

}  // namespace vmad::mount
