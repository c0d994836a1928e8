// The engine on archives in memory: as files, which can be read again, or as streams, of every format.
#pragma once

#include <functional>

#include "codec/lzop.hpp"
#include "engine/ordered_writer.hpp"
#include "engine/repack.hpp"
#include "support/memory_file.hpp"
#include "verify/survey.hpp"

namespace vmad::testing {

using codec::ArchiveFormat;

inline constexpr ArchiveFormat kAllFormats[] = {ArchiveFormat::raw, ArchiveFormat::zstd, ArchiveFormat::gzip,
                                                ArchiveFormat::lzo};

/// The thread sanitizer makes a run 20 times as long: it gets a sample, of what has several threads.
#ifdef __SANITIZE_THREAD__
inline constexpr bool kIsSampled = true;
inline constexpr unsigned kThreadCounts[] = {3};
#else
inline constexpr bool kIsSampled = false;
inline constexpr unsigned kThreadCounts[] = {1, 3};
#endif
[[nodiscard]] constexpr std::uint64_t sampled(std::uint64_t rounds) {
    return kIsSampled ? (rounds + 2) / 3 : rounds;
}

/// Keeps what is written.
class MemorySink final : public io::ByteSink {
  public:
    void append(std::span<iovec> slices, std::uint64_t) override {
        for (const auto& slice : slices) {
            const auto* begin = static_cast<const std::byte*>(slice.iov_base);
            bytes.insert(bytes.end(), begin, begin + slice.iov_len);
        }
    }
    [[nodiscard]] std::uint64_t written_bytes() const noexcept override { return bytes.size(); }
    Bytes bytes;
};

/// The archive as vzdump's compressors store it: in one piece.
[[nodiscard]] inline Bytes stored_as(ArchiveFormat format, View archive) {
    iovec slice{const_cast<std::byte*>(archive.data()), archive.size()};
    if (format == ArchiveFormat::raw) return {archive.begin(), archive.end()};
    if (format == ArchiveFormat::lzo) {
        MemorySink sink;
        codec::LzopSink lzop(sink, nullptr);
        lzop.append({&slice, 1}, archive.size());
        lzop.finish();
        return sink.bytes;
    }
    const auto encoder = codec::make_frame_encoder(format, 1);
    Bytes stored(encoder->bound(archive.size()));
    stored.resize(encoder->encode({&slice, 1}, stored));
    return stored;
}

/// What is in a stored archive.
[[nodiscard]] inline Bytes uncompressed(View stored) {
    MemorySource stream(stored, false);
    auto source = codec::ArchiveSource::of_stream(stream, {});
    Bytes bytes(1 << 20);
    std::size_t size = 0;
    for (;;) {
        iovec slice{bytes.data() + size, bytes.size() - size};
        size += source.read({&slice, 1});
        if (size < bytes.size()) break;
        bytes.resize(2 * bytes.size());
    }
    bytes.resize(size);
    return bytes;
}

/// Repacks one file into another, which is empty.
[[nodiscard]] inline engine::RepackResult run_engine(io::FileSystem& fs, const io::File& source,
                                                     const io::File& copy,
                                                     const engine::RepackOptions& options,
                                                     std::function<void(std::uint64_t)> require_space = {}) {
    auto stream = codec::ArchiveSource::of_file(fs, source, io::CacheUse::keep,
                                                {options.task.threads, options.task.cancel});
    engine::OrderedWriter writer(fs, copy, {.require_space = std::move(require_space), .on_device = {}});
    return engine::repack(fs, stream, writer, options);
}

/// Reads an archive from a stream.
[[nodiscard]] inline verify::Survey survey_of(View stored) {
    MemorySource stream(stored, false);
    auto source = codec::ArchiveSource::of_stream(stream, {});
    return verify::survey(source, {});
}

/// Verifies a copy that is complete.
inline void verify_copy(io::FileSystem& fs, const io::File& file, codec::ArchiveFormat format,
                        const verify::Fingerprint& expected, const base::TaskOptions& options) {
    verify::CopyVerification(fs, file, format, options, verify::ReadBack::afterwards).finish(expected);
}

}  // namespace vmad::testing
