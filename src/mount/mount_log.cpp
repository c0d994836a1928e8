#include "mount/mount_log.hpp"

// The place in the source would be the same for all records.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <syslog.h>

#include <systemd/sd-journal.h>

#include "base/text.hpp"

namespace vmad::mount {
namespace {

/// A disk that is damaged all over is not worth more memory, or records.
constexpr std::size_t kMaxTexts = 1000;

}  // namespace

void MountLog::use_journal() noexcept {
    const std::lock_guard lock(mutex_);
    to_journal_ = true;
}

void MountLog::warn_once(const std::string& text) noexcept {
    const std::lock_guard lock(mutex_);
    try {
        if (written_.size() >= kMaxTexts || !written_.insert(text).second) return;
        write(text);
        if (written_.size() == kMaxTexts) write("there is more like this, which is not logged any longer");
    } catch (const std::exception&) {
        // There is nobody else to tell.
    }
}

void MountLog::write(const std::string& text) noexcept {
    if (!to_journal_) return console_.message(text);
    (void)sd_journal_send("MESSAGE=%s", base::printable(text).c_str(), "PRIORITY=%i", LOG_WARNING,
                          "SYSLOG_IDENTIFIER=vmad-mount", "VMAD_ARCHIVE=%s", archive_.c_str(), nullptr);
}

}  // namespace vmad::mount
