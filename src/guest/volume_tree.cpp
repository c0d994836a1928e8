#include "guest/volume_tree.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "guest/ext_tree.hpp"
#include "guest/ntfs_tree.hpp"

namespace vmad::guest {
namespace {

constexpr std::size_t kMaxEntries = 4'000'000;  // of a directory

bool is_ext(const std::string& name) { return name == "ext2" || name == "ext3" || name == "ext4"; }

[[noreturn]] void refuse(const Volume& volume) {
    const auto fault = [&] {
        if (!volume.problem.empty()) return volume.problem;
        if (volume.file_system.empty()) return std::string("no file system is known there");
        if (volume.file_system == "crypto_LUKS" || volume.file_system == "BitLocker")
            return fmt::format("it is encrypted ({})", volume.file_system);
        if (volume.file_system == "LVM2_member")
            return std::string("it is a physical volume of LVM, not one of its logical volumes");
        return fmt::format("vmactl cannot read {}", volume.file_system);
    }();
    throw base::Unsupported(
        fmt::format("{}: {}; use \"vmactl mount\", and guestmount(1) on its disks", volume.name, fault));
}

}  // namespace

bool VolumeTree::can_open(const std::string& file_system) {
    return is_ext(file_system) || file_system == "ntfs";
}

std::unique_ptr<VolumeTree> VolumeTree::open(const Volume& volume) {
    if (!volume.problem.empty() || !can_open(volume.file_system)) refuse(volume);
    return is_ext(volume.file_system) ? open_ext_tree(volume) : open_ntfs_tree(volume);
}

void VolumeTree::add_entry(std::vector<DirectoryEntry>& entries, std::string name, std::uint64_t inode) {
    if (name == "." || name == "..") return;
    if (name.empty() || name.find('/') != name.npos || name.find('\0') != name.npos)
        throw base::Error(
            fmt::format("the directory is damaged: \"{}\" is no name of a file", base::printable(name)));
    if (entries.size() == kMaxEntries) throw base::Error("the directory is damaged: it has no end");
    entries.push_back({std::move(name), inode});
}

}  // namespace vmad::guest
