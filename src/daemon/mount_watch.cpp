#include "daemon/mount_watch.hpp"

#include <fcntl.h>
#include <sys/epoll.h>

#include "daemon/log.hpp"

namespace vmad::daemon {

// Opened before it is read, so that no change can fall in between.
MountWatch::MountWatch(sd_event* event, io::FileSystem& fs, std::function<void()> on_change)
    : fs_(fs),
      on_change_(std::move(on_change)),
      file_(fs.open("/proc/self/mountinfo", O_RDONLY)),
      table_(io::MountTable::read(fs)) {
    sd_event_source* source = nullptr;
    // The kernel reports a change as priority data (proc_pid_mounts(5)).
    varlink::check_event(sd_event_add_io(event, &source, file_.fd(), EPOLLPRI, on_event, this),
                         "sd_event_add_io");
    source_.reset(source);
}

int MountWatch::on_event(sd_event_source*, int, std::uint32_t, void* self) noexcept {
    auto& watch = *static_cast<MountWatch*>(self);
    try {
        watch.table_ = io::MountTable::read(watch.fs_);
        watch.on_change_();
    } catch (const std::exception& error) {
        log_error("cannot read the mount table", error.what());
    }
    return 0;
}

}  // namespace vmad::daemon
