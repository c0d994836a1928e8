// What is mounted now, kept up to date by the kernel's word, without touching any storage.
#pragma once

#include <functional>

#include "io/mount_table.hpp"
#include "varlink/event_source.hpp"

namespace vmad::daemon {

/// Belongs to the thread of the event loop.
class MountWatch {
  public:
    /// `on_change` is called from the loop when something was mounted or unmounted. Throws base::Error.
    MountWatch(sd_event* event, io::FileSystem& fs, std::function<void()> on_change);
    MountWatch(const MountWatch&) = delete;
    MountWatch& operator=(const MountWatch&) = delete;

    /// The mount that an absolute path lies on, or nullptr. Valid until the next event.
    [[nodiscard]] const io::Mount* find(const std::string& path) const { return table_.find(path); }

  private:
    static int on_event(sd_event_source*, int, std::uint32_t, void* self) noexcept;

    io::FileSystem& fs_;
    std::function<void()> on_change_;
    io::File file_;
    io::MountTable table_;
    varlink::EventSource source_;
};

}  // namespace vmad::daemon
