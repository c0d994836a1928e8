#include "repack/extract.hpp"

#include <fcntl.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "access/archive_index.hpp"
#include "access/device_choice.hpp"
#include "access/extent_pump.hpp"
#include "canon/sealed_extent.hpp"
#include "io/byte_stream.hpp"
#include "io/new_file.hpp"

namespace vmad::repack {
namespace {

constexpr std::uint64_t kBufferBytes = 10 * vma::kMaxExtentPayload;

/// Which files an archive becomes, checked before any of them is made.
struct Plan {
    std::vector<vma::Device> devices;
    std::vector<vma::Config> configs;
};

std::string disk_file_name(const vma::Device& device) { return fmt::format("disk-{}.raw", device.name); }

Plan select(const vma::Header& header, const std::vector<std::string>& names) {
    if (names.empty()) return {header.devices, header.configs};
    return {access::chosen_devices(header, names), {}};
}

std::vector<std::string> file_names(const Plan& plan) {
    std::vector<std::string> names;
    for (const auto& device : plan.devices) names.push_back(disk_file_name(device));
    for (const auto& config : plan.configs) names.push_back(config.name);
    return names;
}

/// A name from the archive must not lead out of the directory, nor hide one file behind another.
void check_names(const std::vector<std::string>& names) {
    std::set<std::string> seen;
    for (const auto& name : names) {
        if (name.find('/') != name.npos || name == "." || name == "..")
            throw base::InvalidArchive("file-name",
                                       fmt::format("\"{}\" in the header is not a valid file name", name));
        if (!seen.insert(name).second)
            throw base::InvalidArchive("file-name", fmt::format("two files would have the name {}", name));
    }
}

void require_absent(io::FileSystem& fs, const io::File& directory, const std::vector<std::string>& names) {
    for (const auto& name : names)
        if (fs.status_at(directory, name))
            throw base::UsageError(fmt::format("{} exists; --force replaces it", directory.entry(name)));
}

/// The directory to extract to. If it had to be made, it goes away again when it stays empty.
class TargetDirectory {
  public:
    TargetDirectory(io::FileSystem& fs, const std::string& path)
        : fs_(fs), path_(path), is_ours_(fs.make_directory(path, 0777)) {}
    TargetDirectory(const TargetDirectory&) = delete;
    TargetDirectory& operator=(const TargetDirectory&) = delete;
    ~TargetDirectory() {
        std::error_code has_files;
        if (is_ours_) std::filesystem::remove(path_, has_files);
    }
    /// Its name, where it had to be made.
    void sync() const {
        if (is_ours_) io::sync_where_known(fs_, fs_.open(path_ + "/..", O_RDONLY | O_DIRECTORY));
    }
    void keep() noexcept { is_ours_ = false; }

  private:
    io::FileSystem& fs_;
    std::string path_;
    bool is_ours_;
};

/// Writes the stored blocks of extents to the disks' files, in as few calls as their order allows.
class DiskWriter {
  public:
    explicit DiskWriter(io::FileSystem& fs) : fs_(fs) {}

    void add(const vma::Device& device, const io::File& file) {
        disks_[device.id] = {&file, device.size_bytes};
    }

    /// Any thread, here and below.
    void write(const vma::Extent& extent) {
        auto blocks = wanted_blocks(extent);
        std::sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) {
            return std::pair(a.device_id, a.offset) < std::pair(b.device_id, b.offset);
        });
        write(blocks);
    }

    void write(const access::RegionNumber& number, const access::Region& region) {
        std::vector<Block> blocks;
        auto offset = number.region * std::uint64_t{canon::kRegionBytes};
        for (unsigned i = 0; i < canon::kRegionBytes / vma::kBlockSize; ++i, offset += vma::kBlockSize)
            if (const auto* stored = region.block(i)) add_wanted(blocks, number.device_id, offset, stored);
        write(blocks);
    }

    [[nodiscard]] std::uint64_t written_bytes() const noexcept { return written_bytes_; }

  private:
    struct Disk {
        const io::File* file = nullptr;  ///< none: not wanted
        std::uint64_t size_bytes = 0;
    };
    struct Block {
        std::uint8_t device_id;
        std::uint64_t offset;
        const std::byte* bytes;
        std::size_t size;
    };

    /// Those behind one another in one call.
    void write(const std::vector<Block>& blocks) {
        // At most 59 * 16 slices, which is less than IOV_MAX.
        std::vector<iovec> slices;
        for (std::size_t i = 0; i < blocks.size(); i += slices.size()) {
            slices.clear();
            auto end = blocks[i].offset;
            for (std::size_t k = i; k < blocks.size(); ++k) {
                if (blocks[k].device_id != blocks[i].device_id || blocks[k].offset != end) break;
                slices.push_back(io::const_slice({blocks[k].bytes, blocks[k].size}));
                end += blocks[k].size;
            }
            io::write_fully_at(fs_, *disks_[blocks[i].device_id].file, slices, blocks[i].offset);
            written_bytes_ += end - blocks[i].offset;
        }
    }

    /// A stored block, unless it is zero, of another disk, or past the disk's end.
    void add_wanted(std::vector<Block>& blocks, std::uint8_t device_id, std::uint64_t offset,
                    const std::byte* stored) const {
        const auto& disk = disks_[device_id];
        if (disk.file == nullptr || offset >= disk.size_bytes || canon::is_zero_block(stored)) return;
        const auto size = std::min<std::uint64_t>(vma::kBlockSize, disk.size_bytes - offset);
        blocks.push_back({device_id, offset, stored, size});
    }

    /// What is stored and not zero, up to the disks' ends.
    [[nodiscard]] std::vector<Block> wanted_blocks(const vma::Extent& extent) const {
        std::vector<Block> blocks;
        const auto* bytes = extent.payload->data();
        for (const auto& slot : extent.header.slots) {
            if (slot.device_id == 0) continue;  // not used, whatever its mask says
            for (unsigned block = 0; block < vma::kBlocksPerCluster; ++block) {
                if ((slot.mask >> block & 1) == 0) continue;
                add_wanted(blocks, slot.device_id,
                           slot.cluster * std::uint64_t{vma::kClusterSize} + block * vma::kBlockSize, bytes);
                bytes += vma::kBlockSize;
            }
        }
        return blocks;
    }

    io::FileSystem& fs_;
    std::array<Disk, vma::kDeviceSlots> disks_{};  ///< by id
    std::atomic<std::uint64_t> written_bytes_ = 0;
};

void copy_disks(access::ExtentPump::Read read, const std::function<io::SourceProgress()>& progress,
                DiskWriter& writer, const base::TaskOptions& task) {
    access::ExtentPump pump(std::move(read), task.threads, task.cancel_flag(),
                            {[&](const vma::Extent& extent, unsigned) { writer.write(extent); },
                             [&] { task.report(base::Stage::extracting, progress()); }, [](bool) {}});
    pump.join();
}

/// The files of an extraction, without their names as yet.
class Files {
  public:
    /// Makes them, with the configs in place and the disks all zero.
    Files(io::FileSystem& fs, const io::File& directory, const Plan& plan)
        : fs_(fs), plan_(plan), writer_(fs) {
        for (const auto& device : plan.devices) {
            const auto& file = files_.emplace_back(fs, directory, disk_file_name(device)).file();
            fs.truncate(file, device.size_bytes);
            writer_.add(device, file);
        }
        for (const auto& config : plan.configs) {
            auto data = io::const_slice(config.data);
            io::write_fully_at(fs, files_.emplace_back(fs, directory, config.name).file(), {&data, 1}, 0);
        }
    }

    [[nodiscard]] DiskWriter& writer() noexcept { return writer_; }

    /// Makes the disks all zero again.
    void clear_disks() {
        for (std::size_t i = 0; i < plan_.devices.size(); ++i) {
            fs_.truncate(files_[i].file(), 0);
            fs_.truncate(files_[i].file(), plan_.devices[i].size_bytes);
        }
    }

    /// All files, or, unless existing ones are replaced, none when an error comes between.
    void publish(const io::File& directory, bool force) {
        for (auto& file : files_) fs_.sync(file.file());
        for (auto& file : files_) force ? file.replace() : file.publish();
        io::sync_where_known(fs_, directory);
        for (auto& file : files_) file.keep();
    }

  private:
    io::FileSystem& fs_;
    const Plan& plan_;
    std::deque<io::NewFile> files_;
    DiskWriter writer_;
};

/// Reads regions of an archive and writes them to the disks' files, several at once.
class RegionCopy {
  public:
    /// All that is given outlives this object.
    RegionCopy(const access::ArchiveIndex& index, const std::vector<vma::Device>& devices, DiskWriter& writer,
               const base::TaskOptions& task)
        : index_(index), writer_(writer), task_(task) {
        for (const auto& device : devices)
            for (const auto region : index.stored_regions(device.id)) {
                regions_.push_back({device.id, region});
                progress_.total_bytes += index.stored_bytes(regions_.back());
            }
    }

    /// Throws access::DamagedRegion, base::SystemError, io::NoSpace, base::Cancelled.
    void run() {
        std::vector<std::jthread> threads;
        for (unsigned i = 0; i < task_.threads; ++i) threads.emplace_back([this] { copy(); });
        threads.clear();
        error_.rethrow();
    }

  private:
    void copy() {
        try {
            for (auto i = next_++; i < regions_.size() && !error_.any(); i = next_++) {
                task_.cancel_flag().check();
                if (const auto region = index_.load(regions_[i])) writer_.write(regions_[i], *region);
                report(index_.stored_bytes(regions_[i]));
            }
        } catch (...) {
            error_.capture();
        }
    }

    void report(std::uint64_t done_bytes) {
        const std::lock_guard lock(progress_mutex_);
        progress_.done_bytes += done_bytes;
        task_.report(base::Stage::extracting, progress_);
    }

    const access::ArchiveIndex& index_;
    DiskWriter& writer_;
    const base::TaskOptions& task_;
    std::vector<access::RegionNumber> regions_;
    std::atomic<std::size_t> next_ = 0;
    base::FirstError error_;
    std::mutex progress_mutex_;
    io::SourceProgress progress_;
};

/// Only the wanted disks, where the archive lets them be found. False when it is to be read from its start:
/// nothing can be found, or something is wrong and that says what.
bool copy_found_disks(io::FileSystem& fs, const io::File& source, const Plan& plan, Files& files,
                      const ExtractOptions& options) {
    const auto& task = options.task;
    try {
        const auto index = access::ArchiveIndex::read(
            fs, source, {task.threads, task.cancel, options.index.progress}, options.index.cache);
        for (const auto& device : plan.devices) index->check_zero_regions(device.id, task.cancel_flag());
        RegionCopy(*index, plan.devices, files.writer(), task).run();
        return true;
    } catch (const access::DamagedRegion&) {
        files.clear_disks();
    } catch (const base::InvalidArchive&) {
    } catch (const base::Unsupported&) {
    }
    return false;
}

ExtractResult size_of(const Plan& plan, std::uint64_t written_to_disks) {
    ExtractResult result{file_names(plan), 0, written_to_disks};
    for (const auto& device : plan.devices) result.size_bytes += device.size_bytes;
    for (const auto& config : plan.configs) {
        result.size_bytes += config.data.size();
        result.written_bytes += config.data.size();
    }
    return result;
}

}  // namespace

ExtractResult extract(io::FileSystem& fs, codec::ArchiveSource& source, const io::File* source_file,
                      const std::string& directory, const ExtractOptions& options) {
    base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize, kBufferBytes);
    vma::ArchiveReader reader(source, buffers);
    const auto plan = select(reader.header(), options.devices);
    const auto names = file_names(plan);
    check_names(names);

    TargetDirectory made(fs, directory);
    const auto into = fs.open(directory, O_RDONLY | O_DIRECTORY);
    if (!options.force) require_absent(fs, into, names);

    Files files(fs, into, plan);
    const bool may_seek = source_file != nullptr && !options.devices.empty();
    if (!may_seek || !copy_found_disks(fs, *source_file, plan, files, options))
        copy_disks([&](vma::Extent& extent) { return access::next_extent(reader, extent); },
                   [&] { return source.progress(); }, files.writer(), options.task);
    options.task.report_end(base::Stage::extracting, source.progress().done_bytes);
    made.sync();
    files.publish(into, options.force);
    made.keep();
    return size_of(plan, files.writer().written_bytes());
}

}  // namespace vmad::repack
