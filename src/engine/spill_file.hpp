// Parks clusters on disk that come long before their turn, when memory is used up.
//
// A file without a name, made when it is first needed, that goes away with this object or the process.
// Clusters are written in records of one extent each; the records of an extent form a chain, of which the
// caller keeps the last. One thread at a time writes; any may read.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "codec/frame_encoder.hpp"
#include "io/file_system.hpp"

namespace vmad::engine {

/// Where a spill file may be made.
struct SpillPlace {
    const io::File* beside = nullptr;    ///< a directory, used when it has files without names; or none
    std::string directory = "/var/tmp";  ///< else this one
    /// To be left free in `beside`; else, and in `directory`, io::default_reserve().
    std::optional<std::uint64_t> reserve_beside{};
};

/// A cluster on its way to disk or back.
struct SpilledCluster {
    std::uint64_t source_offset = 0;    ///< of its first block in the source
    std::uint16_t mask = 0;             ///< which blocks are stored
    std::uint16_t slot = 0;             ///< in its extent
    const std::byte* blocks = nullptr;  ///< the stored blocks; null when they are not kept here
};

class SpillFile {
  public:
    /// `fs` and place.beside outlive this object.
    SpillFile(io::FileSystem& fs, SpillPlace place);
    SpillFile(const SpillFile&) = delete;
    SpillFile& operator=(const SpillFile&) = delete;
    ~SpillFile();

    /// No record.
    static constexpr std::uint64_t kNone = UINT64_MAX;

    struct Record {
        std::uint64_t previous = kNone;        ///< of the same chain
        std::vector<SpilledCluster> clusters;  ///< their blocks point into `payload`
        std::vector<std::byte> payload;
    };

    /// Writes the clusters, with the blocks that they have, as a record behind `previous`. Returns where it
    /// is. Throws io::NoSpace, also before a reserve is used up, and base::SystemError.
    [[nodiscard]] std::uint64_t write(std::uint64_t previous, const std::vector<SpilledCluster>& clusters);
    /// Reads a record, once: its room on the disk is given back. Throws base::Error.
    [[nodiscard]] Record read(std::uint64_t at);

    /// On the disk, all in all.
    [[nodiscard]] std::uint64_t written_bytes() const noexcept { return end_; }

  private:
    void open();

    io::FileSystem& fs_;
    SpillPlace place_;
    io::File directory_;
    io::File file_;
    std::uint64_t reserve_bytes_ = 0;
    std::atomic<std::uint64_t> end_ = 0;
    std::unique_ptr<codec::FrameEncoder> encoder_;
    std::vector<std::byte> compressed_;
};

}  // namespace vmad::engine
