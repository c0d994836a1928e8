#include "engine/temporary_store.hpp"

#include <fcntl.h>

#include "base/error.hpp"
#include "io/storage.hpp"
#include "io/temporary_name.hpp"

namespace vmad::engine {
io::File open_nameless(io::FileSystem& fs, const io::File& directory) {
    if (auto unnamed = fs.open_unnamed(directory)) return std::move(*unnamed);
    const auto name = std::string(io::kReservedPrefix) + io::random_hex() + ".tmp";
    auto file = fs.open_at(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    fs.unlink(directory, name);
    return file;
}

void TemporaryStore::open() {
    if (place_.beside != nullptr)
        if (auto unnamed = fs_.open_unnamed(*place_.beside)) file_ = std::move(*unnamed);
    if (!file_) {
        directory_ = fs_.open(place_.directory, O_RDONLY | O_DIRECTORY);
        file_ = open_nameless(fs_, directory_);
        place_.beside = &directory_;
        place_.reserve_beside.reset();
    }
    reserve_bytes_ =
        place_.reserve_beside ? *place_.reserve_beside : io::default_reserve(fs_, *place_.beside);
}

std::uint64_t TemporaryStore::append(std::span<iovec> slices, std::uint64_t size_bytes) {
    if (!file_) open();
    io::require_space(fs_, *place_.beside, size_bytes, reserve_bytes_);
    const std::uint64_t at = end_;
    io::write_fully_at(fs_, file_, slices, at);
    end_ += size_bytes;
    return at;
}

void TemporaryStore::read(std::span<std::byte> into, std::uint64_t offset) {
    if (io::read_fully_at(fs_, file_, into, offset) < into.size())
        throw base::Error(file_.path() + ": the spill file became shorter");
}

void TemporaryStore::discard(std::uint64_t offset, std::uint64_t size_bytes) {
    fs_.discard(file_, offset, size_bytes);
}

}  // namespace vmad::engine
