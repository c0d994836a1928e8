#include "loop_volume.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

namespace vmad::fault {
namespace {

/// The least that mkfs.xfs makes; sparse.
constexpr std::uintmax_t kBytes = std::uintmax_t{320} << 20;

bool has_own_mounts = false;

bool runs(const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()) == 0; }

}  // namespace

void LoopVolume::leave_mounts_of_others() {
    has_own_mounts =
        ::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0;
}

LoopVolume::LoopVolume(const std::string& kind) {
    const auto make = "mkfs." + kind;
    directory_.write("image", "");
    std::filesystem::resize_file(directory_ / "image", kBytes);
    std::filesystem::create_directory(path());
    if (::geteuid() != 0)
        why_not_ = "only root can mount";
    else if (!has_own_mounts)
        why_not_ = "there are no mount namespaces here";
    else if (!runs("command -v " + make))
        why_not_ = make + " is not installed";
    else if (!runs(fmt::format("{} -q {}", make, directory_ / "image")))
        why_not_ = make + " fails";
    else if (!runs(fmt::format("mount -o loop {} {}", directory_ / "image", path())))
        why_not_ = fmt::format("{} cannot be mounted", kind);
}

bool LoopVolume::is_usable(const std::string& test) const {
    // As unittest says it, for the summary.
    if (!why_not_.empty()) fmt::print("test_{} (LoopVolume) ... skipped '{}'\n", test, why_not_);
    return why_not_.empty();
}

LoopVolume::~LoopVolume() {
    if (why_not_.empty()) (void)::umount2(path().c_str(), MNT_DETACH);
}

}  // namespace vmad::fault
