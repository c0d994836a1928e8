// An archive taken apart, so that a test can break one part and put it together again.
#pragma once

#include <cstdint>
#include <vector>

#include "support/vma_fields.hpp"

namespace vmad::testing {

/// Takes a valid archive apart. join() makes all checksums right and puts the parts together as they are.
struct ArchiveParts {
    struct Extent {
        Bytes head;  // 512 bytes
        Bytes data;
    };
    Bytes header;
    std::vector<Extent> extents;

    explicit ArchiveParts(View archive);

    /// Where the header's u32 or, with width 8, u64 field is changed.
    void set_header(std::size_t at, std::uint64_t value, std::size_t width = 4);
    [[nodiscard]] std::uint64_t get_header(std::size_t at, std::size_t width = 4) const;
    /// Where the blob that the pointer field names has its first byte, in the header.
    [[nodiscard]] std::size_t blob_at(std::size_t pointer_at) const;

    [[nodiscard]] std::uint64_t extent_offset(std::size_t extent) const;
    [[nodiscard]] std::uint64_t slot_offset(std::size_t extent, std::size_t slot) const;
    [[nodiscard]] Slot slot(std::size_t extent, std::size_t slot) const;
    void set_slot(std::size_t extent, std::size_t slot, Slot value);
    /// Empties a slot and removes its blocks; the extent stays valid.
    void remove_cluster(std::size_t extent, std::size_t slot);

    [[nodiscard]] Bytes join() const;
};

}  // namespace vmad::testing
