// Decompresses a gzip file of any number of members, and passes over zeros behind the last one, as gzip does.
//
// Private to this folder. One thread at a time.
#pragma once

#include <zlib.h>

#include "codec/decoder.hpp"
#include "codec/stored_input.hpp"

namespace vmad::codec {

class GzipMembers final : public Decoder {
  public:
    /// `stored`, at its first byte, and the flag, if any, outlive this object. Throws std::bad_alloc.
    GzipMembers(io::ByteSource& stored, const base::CancelFlag* cancel);
    GzipMembers(const GzipMembers&) = delete;
    GzipMembers& operator=(const GzipMembers&) = delete;
    ~GzipMembers() override;

    [[nodiscard]] std::size_t read(std::span<iovec> into) override;
    [[nodiscard]] io::SourceProgress progress() const override { return input_.progress(); }

  private:
    [[nodiscard]] bool begin_member();
    [[nodiscard]] bool skip_zeros();
    void inflate_into(std::span<std::byte>& room);
    [[noreturn]] void throw_no_member() const;
    [[noreturn]] void throw_truncated(std::uint64_t file_bytes) const;

    StoredInput input_;
    z_stream inflater_{};
    bool in_member_ = false;
    std::uint64_t offset_ = 0;  ///< of the next decompressed byte
};

}  // namespace vmad::codec
