// The entries of a seek table, kept until the archive's end, where they are written: in memory up to some
// MiB, and in a file beyond. One thread.
#pragma once

#include <vector>

#include "engine/temporary_store.hpp"
#include "io/byte_stream.hpp"

namespace vmad::engine {

class SeekEntries {
  public:
    /// `fs` and place.beside outlive this object.
    SeekEntries(io::FileSystem& fs, const SpillPlace& place) : store_(fs, place) {}

    /// Adds a frame behind the others: its size in the file, with the filling behind it, its content's size,
    /// and the checksum that it ends with. Throws what TemporaryStore::append throws.
    void add(std::uint64_t stored_bytes, std::uint64_t bytes, std::uint32_t checksum);
    /// Writes the whole table. Throws what the sink throws, and base::Error.
    void write_table(io::ByteSink& sink);

  private:
    TemporaryStore store_;
    std::vector<std::byte> entries_;  ///< those that are not in the store
    std::uint64_t count_ = 0;
};

}  // namespace vmad::engine
