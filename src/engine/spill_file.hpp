// Parks clusters on disk that come long before their turn, when memory is used up.
//
// Clusters are written in records of one extent each; the records of an extent form a chain, of which the
// caller keeps the last. One thread at a time writes; any may read.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "codec/frame_encoder.hpp"
#include "engine/temporary_store.hpp"

namespace vmad::engine {

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
    [[nodiscard]] std::uint64_t written_bytes() const noexcept { return store_.size_bytes(); }

  private:
    io::FileSystem& fs_;
    TemporaryStore store_;
    std::unique_ptr<codec::FrameEncoder> encoder_;
    std::vector<std::byte> compressed_;
};

}  // namespace vmad::engine
