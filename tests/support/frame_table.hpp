// A seek table that a test can write, or get wrong, as it likes.
#pragma once

#include "codec/seek_table.hpp"
#include "support/vma_fields.hpp"

namespace vmad::testing {

struct FrameTable {
    std::vector<codec::SeekFrame> frames;

    void add(std::uint32_t stored_bytes, std::uint32_t bytes) {
        const auto offset = frames.empty() ? 0 : frames.back().stored_offset + frames.back().stored_bytes;
        frames.push_back({offset, stored_bytes, bytes});
    }

    /// As it is stored, with `checksum` for each frame or, with 0, without any.
    [[nodiscard]] Bytes encode(std::uint32_t checksum = 0) const {
        const std::size_t entry = checksum == 0 ? 8 : 12;
        Bytes table(8 + entry * frames.size() + 9);
        put_le(table.data(), 4, 0x184d2a5e);
        put_le(&table[4], 4, table.size() - 8);
        for (std::size_t i = 0; i < frames.size(); ++i) {
            put_le(&table[8 + entry * i], 4, frames[i].stored_bytes);
            put_le(&table[8 + entry * i + 4], 4, frames[i].bytes);
            if (checksum != 0) put_le(&table[8 + entry * i + 8], 4, checksum);
        }
        put_le(&table[table.size() - 9], 4, frames.size());
        if (checksum != 0) table[table.size() - 5] = std::byte{0x80};
        put_le(&table[table.size() - 4], 4, 0x8f92eab1);
        return table;
    }

    /// As it is read.
    operator codec::SeekTable() const {  // NOLINT(google-explicit-constructor): as a reader would have it
        return {frames.size(), false,
                [frames = frames](std::uint64_t first, std::span<codec::SeekFrame> into) {
                    for (std::size_t i = 0; i < into.size(); ++i) into[i] = frames[first + i];
                }};
    }

    /// What the table at the end of `stored` lists.
    [[nodiscard]] static FrameTable read(codec::SeekTable table) {
        FrameTable result;
        for (std::uint64_t i = 0; i < table.size(); ++i) result.frames.push_back(table[i]);
        return result;
    }
};

}  // namespace vmad::testing
