#include "ctl/operands/guest_archive.hpp"

#include <fmt/format.h>

#include "access/device_choice.hpp"
#include "access/index_cache.hpp"
#include "base/error.hpp"
#include "ctl/text/archive_text.hpp"
#include "guest/confinement.hpp"

namespace vmad::ctl {
GuestPath guest_path(const std::string& word) {
    const auto colon = word.find(":/");
    if (colon == word.npos) {
        const auto last = word.rfind(':');
        const auto archive = std::string_view(word).substr(0, last);
        if (last != word.npos && (archive.ends_with(".vma") || archive.ends_with(".vma.zst")))
            throw base::UsageError(fmt::format("{}: a path in the guest begins with a slash: {}:/{}", word,
                                               archive, std::string_view(word).substr(last + 1)));
        return {word};
    }
    return {word.substr(0, colon), word.substr(colon + 1)};
}

GuestArchive::GuestArchive(io::FileSystem& fs, Console& console, const std::string& name)
    : file_(open_archive(fs, name)) {
    const StopSignals signals;
    ProgressBar bar(console, archive_label(name), {base::Stage::repacking});
    const access::IndexCache cache;
    index_ =
        access::ArchiveIndex::read(fs, file_, task_options(base::default_threads(), signals, bar), &cache);
}

const std::vector<guest::Volume>& GuestArchive::enter(const std::string& volume) {
    guest::confine();
    reader_.emplace(*index_, access::DiskReader::Options{});
    std::vector<guest::Disk> disks;
    for (const auto& device : index_->header().devices) {
        disks.push_back({std::string(access::short_name(device.name)), device.size_bytes,
                         [this, id = device.id](std::uint64_t offset, std::span<std::byte> into) {
                             reader_->read_at(id, offset, into);
                         }});
        const auto& name = disks.back().name;
        if (volume != name && !volume.starts_with(name + "/")) continue;
        disks.erase(disks.begin(), disks.end() - 1);
        break;
    }
    volumes_ = guest::find_volumes(disks);
    return volumes_;
}

}  // namespace vmad::ctl
