#include "access/index_cache.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "access/kept_files.hpp"
#include "base/path.hpp"

namespace vmad::access {
namespace {

constexpr char kPrefix[] = "index-";
/// Compressed as one frame.
constexpr std::size_t kFrameRecords = 2048;
/// Headers repeat themselves; the disk that they are read of is slower than any level.
constexpr int kLevel = 3;
constexpr std::int64_t kNanoseconds = 1'000'000'000;

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
        directory_ = make_kept_directory(fs_, place_.directory);
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
        remove_oldest(fs_, directory_, [](const std::string& name) { return name.starts_with(kPrefix); },
                      {.max_files = place_.max_files, .max_bytes = place_.max_bytes, .keeps_newest = true});
    } catch (const std::exception&) {
        failed_ = true;
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
    const auto status = fs.status(archive);
    auto file = open_kept_file(fs, options_.directory, name_of(status));
    return file ? KeptHeaders::open(fs, std::move(*file), key_of(status)) : nullptr;
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
