// A file without a name for what memory has no room for, made when it is first written to. It goes away with
// this object or the process.
//
// One thread at a time writes; any may read.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "io/file_system.hpp"

namespace vmad::engine {

/// Where the file may be made.
struct SpillPlace {
    const io::File* beside = nullptr;    ///< a directory, used when it has files without names; or none
    std::string directory = "/var/tmp";  ///< else this one
    /// To be left free in `beside`; else, and in `directory`, io::default_reserve().
    std::optional<std::uint64_t> reserve_beside{};
};

/// A file without a name, open for reading and writing. Where the file system cannot make one, it has a name
/// for a moment.
[[nodiscard]] io::File open_nameless(io::FileSystem& fs, const io::File& directory);

class TemporaryStore {
  public:
    /// `fs` and place.beside outlive this object.
    TemporaryStore(io::FileSystem& fs, SpillPlace place) : fs_(fs), place_(std::move(place)) {}
    TemporaryStore(const TemporaryStore&) = delete;
    TemporaryStore& operator=(const TemporaryStore&) = delete;

    /// Writes the slices, `size_bytes` in all, behind what was written so far, and uses them up. Returns
    /// where they begin. Throws io::NoSpace, also before a reserve is used up, and base::SystemError.
    std::uint64_t append(std::span<iovec> slices, std::uint64_t size_bytes);
    /// Fills `into`. Throws base::Error.
    void read(std::span<std::byte> into, std::uint64_t offset);
    /// Gives the room on the disk back.
    void discard(std::uint64_t offset, std::uint64_t size_bytes);

    /// Written, all in all.
    [[nodiscard]] std::uint64_t size_bytes() const noexcept { return end_; }
    /// Of the file, once it is there.
    [[nodiscard]] const io::File& file() const noexcept { return file_; }

  private:
    void open();

    io::FileSystem& fs_;
    SpillPlace place_;
    io::File directory_;
    io::File file_;
    std::uint64_t reserve_bytes_ = 0;
    std::atomic<std::uint64_t> end_ = 0;
};

}  // namespace vmad::engine
