// A file system of a kind in a file, mounted for this process alone: gone with it, however it ends.
#pragma once

#include <string>

#include "support/temporary_directory.hpp"

namespace vmad::fault {

class LoopVolume {
  public:
    /// `kind` is "xfs" or "btrfs", which share blocks. Where that cannot be had here, why_not() says why.
    explicit LoopVolume(const std::string& kind);
    LoopVolume(const LoopVolume&) = delete;
    LoopVolume& operator=(const LoopVolume&) = delete;
    ~LoopVolume();

    [[nodiscard]] const std::string& why_not() const noexcept { return why_not_; }
    [[nodiscard]] std::string path() const { return directory_ / "mounted"; }

    /// From now on, mounts are seen by this process only. Before it has threads.
    static void leave_mounts_of_others();

  private:
    support::TemporaryDirectory directory_{support::TemporaryDirectory::fast_base()};
    std::string why_not_;
};

}  // namespace vmad::fault
