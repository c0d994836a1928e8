#include "access/index_cache.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <fmt/format.h>

#include "base/path.hpp"
#include "io/temporary_name.hpp"

namespace vmad::access {
namespace {

constexpr char kPrefix[] = "index-";
/// Compressed as one frame.
constexpr std::size_t kFrameRecords = 2048;
/// Headers repeat themselves; the disk that they are read of is slower than any level.
constexpr int kLevel = 3;
constexpr std::int64_t kNanoseconds = 1'000'000'000;
/// What a process that was killed has left in the making.
constexpr std::int64_t kStaleSeconds = std::int64_t{24} * 3600;

IndexKey key_of(const struct stat& archive) {
    const auto text = fmt::format("vmad index 1\ndevice {}\ninode {}\nsize {}\nmodified {}\n", archive.st_dev,
                                  archive.st_ino, archive.st_size,
                                  archive.st_mtim.tv_sec * kNanoseconds + archive.st_mtim.tv_nsec);
    IndexKey key{};
    std::memcpy(key.data(), text.data(), std::min(text.size(), key.size()));
    return key;
}

std::string name_of(const struct stat& archive) {
    return fmt::format("{}{:x}-{:x}.zst", kPrefix, archive.st_dev, archive.st_ino);
}

/// True for what nobody else can have written.
bool is_ours(const struct stat& status) {
    return status.st_uid == ::geteuid() && (status.st_mode & 022) == 0;
}

/// Nothing when it is not there, or not ours.
std::optional<io::File> open_directory(io::FileSystem& fs, const std::string& path) try {
    auto directory = fs.open(path, O_RDONLY | O_DIRECTORY);
    if (!is_ours(fs.status(directory))) return std::nullopt;
    return directory;
} catch (const base::SystemError&) {
    return std::nullopt;
}

/// With the directory above it, ~/.cache for example.
void make_directory(io::FileSystem& fs, const std::string& path) {
    constexpr mode_t kPrivate = 0700;
    try {
        fs.make_directory(path, kPrivate);
    } catch (const base::SystemError& error) {
        if (error.number() != ENOENT) throw;
        fs.make_directory(path.substr(0, path.rfind('/')), kPrivate);
        fs.make_directory(path, kPrivate);
    }
}

}  // namespace

std::unique_ptr<KeptHeaders> KeptHeaders::open(io::FileSystem& fs, io::File file, const IndexKey& key) {
    std::unique_ptr<KeptHeaders> headers(new KeptHeaders(fs, std::move(file)));
    headers->source_.emplace(codec::ArchiveSource::of_file(fs, headers->file_, io::CacheUse::keep, {}));
    IndexKey found;
    if (!headers->next(found) || found != key) return nullptr;
    return headers;
}

bool KeptHeaders::next(std::span<std::byte, vma::kExtentHeaderSize> into) {
    iovec slice{into.data(), into.size()};
    return source_->read({&slice, 1}) == into.size();
}

void KeptHeaders::rewind() {
    source_.emplace(codec::ArchiveSource::of_file(fs_, file_, io::CacheUse::keep, {}));
    IndexKey key;
    (void)next(key);
}

HeaderRecording::HeaderRecording(io::FileSystem& fs, const io::File& archive, const IndexKey& key,
                                 Place place)
    : fs_(fs),
      archive_(archive),
      key_(key),
      place_(std::move(place)),
      encoder_(codec::make_frame_encoder(codec::ArchiveFormat::zstd, kLevel)) {
    restart();
}

void HeaderRecording::restart() noexcept {
    file_.reset();
    written_bytes_ = count_ = 0;
    failed_ = false;
    records_.assign(key_.begin(), key_.end());
}

void HeaderRecording::add(std::span<const std::byte, vma::kExtentHeaderSize> header) noexcept {
    if (failed_) return;
    try {
        records_.insert(records_.end(), header.begin(), header.end());
        ++count_;
        if (records_.size() == kFrameRecords * header.size()) flush();
    } catch (const std::exception&) {
        failed_ = true;
    }
}

void HeaderRecording::flush() {
    if (!file_) {
        make_directory(fs_, place_.directory);
        auto directory = open_directory(fs_, place_.directory);
        if (!directory) throw base::Error(place_.directory + " can be written by others");
        directory_ = std::move(*directory);
        file_.emplace(fs_, directory_, place_.name);
    }
    frame_.resize(encoder_->bound(records_.size()));
    auto slice = io::const_slice(records_);
    const auto size = encoder_->encode({&slice, 1}, frame_);
    slice = io::const_slice(std::span(frame_).first(size));
    io::write_fully_at(fs_, file_->file(), {&slice, 1}, written_bytes_);
    written_bytes_ += size;
    records_.clear();
}

void HeaderRecording::finish() noexcept {
    if (failed_ || count_ < place_.min_headers) return;
    try {
        if (key_of(fs_.status(archive_)) != key_) return;
        flush();
        file_->replace();
        remove_oldest();
    } catch (const std::exception&) {
        failed_ = true;
    }
}

void HeaderRecording::remove_oldest() {
    struct Kept {
        std::int64_t used;
        std::uint64_t bytes;
        std::string name;
    };
    std::vector<Kept> files;
    const auto now = std::time(nullptr);
    for (const auto& name : fs_.entries(directory_)) {
        const auto status = fs_.status_at(directory_, name);
        if (!status) continue;
        if (name.starts_with(kPrefix))
            files.push_back({status->st_mtim.tv_sec * kNanoseconds + status->st_mtim.tv_nsec,
                             static_cast<std::uint64_t>(status->st_size), name});
        else if (io::is_reserved_name(name) && status->st_mtim.tv_sec + kStaleSeconds < now)
            fs_.unlink(directory_, name);
    }
    std::sort(files.begin(), files.end(), [](const Kept& a, const Kept& b) { return a.used > b.used; });
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < files.size(); ++i) {
        bytes += files[i].bytes;
        if (i > 0 && (i >= place_.max_files || bytes > place_.max_bytes))
            fs_.unlink(directory_, files[i].name);
    }
}

std::string IndexCache::default_directory() {
    // A relative $XDG_CACHE_HOME is to be ignored, says its specification.
    if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
        return fmt::format("{}/vmad", cache);
    if (::geteuid() == 0) return base::system_path("/var/cache/vmad");
    if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
        return fmt::format("{}/.cache/vmad", home);
    return "";
}

std::unique_ptr<KeptHeaders> IndexCache::find(io::FileSystem& fs, const io::File& archive) const {
    if (options_.directory.empty()) return nullptr;
    const auto directory = open_directory(fs, options_.directory);
    if (!directory) return nullptr;
    const auto status = fs.status(archive);
    try {
        auto file = fs.open_at(*directory, name_of(status), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        const auto own = fs.status(file);
        if (!S_ISREG(own.st_mode) || !is_ours(own)) return nullptr;
        fs.set_modified(file, {.tv_sec = std::time(nullptr), .tv_nsec = 0});  // it was used
        return KeptHeaders::open(fs, std::move(file), key_of(status));
    } catch (const base::SystemError& error) {
        if (error.number() == ENOENT) return nullptr;
        throw;
    }
}

std::unique_ptr<HeaderRecording> IndexCache::record(io::FileSystem& fs, const io::File& archive) const {
    if (options_.directory.empty()) return nullptr;
    const auto status = fs.status(archive);
    return std::make_unique<HeaderRecording>(
        fs, archive, key_of(status),
        HeaderRecording::Place{options_.directory, name_of(status), options_.min_headers, options_.max_files,
                               options_.max_bytes});
}

}  // namespace vmad::access
