// A file system of a kind in a file, mounted for this process alone: gone with it, however it ends.
#pragma once

#include <string>

#include "support/temporary_directory.hpp"

namespace vmad::fault {

class LoopVolume {
  public:
    /// `kind` is "xfs" or "btrfs", which share blocks.
    explicit LoopVolume(const std::string& kind);
    LoopVolume(const LoopVolume&) = delete;
    LoopVolume& operator=(const LoopVolume&) = delete;
    ~LoopVolume();

    /// False where it cannot be had here; says why as the reason to skip this test.
    [[nodiscard]] bool is_usable(const std::string& test) const;
    [[nodiscard]] std::string path() const { return directory_ / "mounted"; }

    /// From now on, mounts are seen by this process only; where others unmount, it follows, as their disks
    /// would be busy else. Before it has threads.
    static void leave_mounts_of_others();

  private:
    support::TemporaryDirectory directory_{support::TemporaryDirectory::fast_base()};
    std::string why_not_;
};

}  // namespace vmad::fault
