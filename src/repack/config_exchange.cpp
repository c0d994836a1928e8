#include "repack/config_exchange.hpp"

#include <algorithm>

#include "canon/layout.hpp"
#include "codec/seek_frame.hpp"
#include "codec/zstd_form.hpp"
#include "verify/canonical_check.hpp"
#include "verify/survey.hpp"

namespace vmad::repack {
namespace {

using codec::ArchiveFormat;
using codec::SeekTable;

/// How much is copied between two looks at the cancel flag.
constexpr std::uint64_t kStep = std::uint64_t{32} << 20;
constexpr std::uint64_t kEntriesAtOnce = 4096;

/// Progress of reading the source, which is all that takes time.
base::TaskOptions as_repacking(base::TaskOptions task) {
    if (task.progress)
        task.progress = [sink = std::move(task.progress)](base::Progress progress) {
            progress.stage = base::Stage::repacking;
            sink(progress);
        };
    return task;
}

/// Puts a canonical archive together out of a new header and the rest of another one.
class Exchange {
  public:
    Exchange(io::FileSystem& fs, const io::File& file, engine::OrderedWriter& writer,
             const engine::RepackOptions& options)
        : fs_(fs),
          file_(file),
          file_bytes_(static_cast<std::uint64_t>(fs.status(file).st_size)),
          writer_(writer),
          options_(options) {}

    void write_raw(std::span<const std::byte> header, std::uint64_t old_header_bytes) {
        append(header);
        copy(old_header_bytes, file_bytes_);
    }

    /// `table` is of the file.
    void write_zstd(std::span<const std::byte> header, SeekTable& table) {
        std::uint64_t first_filled = 1;
        while (first_filled < table.size() && table[first_filled].bytes <= codec::kMaxContentWithoutPayload)
            ++first_filled;
        const auto frame = encoded(header);
        append(frame);
        codec::SeekFrame header_entry{.stored_bytes = static_cast<std::uint32_t>(frame.size()),
                                      .bytes = static_cast<std::uint32_t>(header.size()),
                                      .checksum = codec::frame_checksum(frame)};
        // What stands before the first filling moves with the header; its own size depends on where it is.
        std::uint32_t last_bytes = 0;
        if (first_filled == table.size()) {
            copy(table[1].stored_offset, table.stored_bytes());
            last_bytes = table[first_filled - 1].stored_bytes;
        } else {
            if (first_filled > 1) last_bytes = copy_unfilled(table, first_filled);
            const auto filling = codec::make_filling(codec::filling_bytes(writer_.written_bytes()));
            append(filling);
            (first_filled > 1 ? last_bytes : header_entry.stored_bytes) +=
                static_cast<std::uint32_t>(filling.size());
            copy(table[first_filled].stored_offset, table.stored_bytes());
        }
        write_table(table, header_entry, first_filled, last_bytes);
    }

  private:
    [[nodiscard]] std::vector<std::byte> encoded(std::span<const std::byte> header) const {
        const auto encoder = codec::make_frame_encoder(ArchiveFormat::zstd, options_.zstd_level);
        std::vector<std::byte> frame(encoder->bound(header.size()));
        const auto slice = io::const_slice(header);
        frame.resize(encoder->encode({&slice, 1}, frame));
        return frame;
    }

    /// The frames before the first that has a filling, without that. Returns the size of the last of them.
    [[nodiscard]] std::uint32_t copy_unfilled(SeekTable& table, std::uint64_t first_filled) {
        const auto begin = table[1].stored_offset;
        const auto last = table[first_filled - 1];
        const auto bytes = codec::own_stored_bytes(fs_, file_, last, codec::kMaxContentWithoutPayload);
        if (!bytes) throw base::Error(file_.path() + " was changed while it was read");
        copy(begin, last.stored_offset + *bytes);
        return static_cast<std::uint32_t>(*bytes);
    }

    /// The entries from `first_filled` on are those of the file, as are header and footer.
    void write_table(SeekTable& table, const codec::SeekFrame& header, std::uint64_t first_filled,
                     std::uint32_t last_bytes) {
        append(SeekTable::encode_header(table.size()));
        std::vector<std::byte> entries;
        for (std::uint64_t i = 0; i < first_filled; ++i) {
            auto entry = i == 0 ? header : table[i];
            if (i > 0 && i + 1 == first_filled) entry.stored_bytes = last_bytes;
            const auto bytes = SeekTable::encode_entry(entry.stored_bytes, entry.bytes, entry.checksum);
            entries.insert(entries.end(), bytes.begin(), bytes.end());
            if ((i + 1) % kEntriesAtOnce != 0 && i + 1 != first_filled) continue;
            append(entries);
            entries.clear();
        }
        copy(table.stored_bytes() + SeekTable::kHeaderBytes + first_filled * SeekTable::kEntryBytes,
             file_bytes_);
    }

    void append(std::span<const std::byte> bytes) {
        auto slice = io::const_slice(bytes);
        writer_.append({&slice, 1}, bytes.size());
    }

    void copy(std::uint64_t begin, std::uint64_t end) {
        while (begin < end) {
            options_.task.cancel_flag().check();
            const auto bytes = std::min(kStep, end - begin);
            writer_.copy(file_, begin, bytes);
            begin += bytes;
        }
    }

    io::FileSystem& fs_;
    const io::File& file_;
    std::uint64_t file_bytes_;
    engine::OrderedWriter& writer_;
    const engine::RepackOptions& options_;
};

/// What a whole reading of the archive finds; nothing when it is not canonical.
std::optional<verify::Survey> survey_canonical(io::FileSystem& fs, const io::File& file,
                                               const base::TaskOptions& task, verify::SourceCheck* check) {
    if (verify::canonical_by_headers(fs, file, task) != verify::Canonical::yes) return std::nullopt;
    auto source = codec::ArchiveSource::of_file(
        fs, file, io::CacheUse::keep,
        {task.threads, task.cancel, check != nullptr ? check->sums() : nullptr});
    auto survey = verify::survey(source, as_repacking(task));
    if (check != nullptr) check->look_at(source);
    if (!survey.deviation.empty()) return std::nullopt;
    return survey;
}

}  // namespace

std::optional<engine::RepackResult> exchange_configs(io::FileSystem& fs, const io::File& file,
                                                     ArchiveFormat format, engine::OrderedWriter& writer,
                                                     const engine::RepackOptions& options,
                                                     verify::SourceCheck* check) {
    if (!options.edit_configs || (format != ArchiveFormat::raw && format != ArchiveFormat::zstd))
        return std::nullopt;
    const auto survey = survey_canonical(fs, file, options.task, check);
    if (!survey || survey->format != format) return std::nullopt;
    if (options.configs_read) options.configs_read(survey->header.configs);
    auto header = survey->header;
    header.configs = options.edit_configs(std::move(header.configs));
    const canon::Layout layout(header);
    Exchange exchange(fs, file, writer, options);
    if (format == ArchiveFormat::raw) {
        exchange.write_raw(layout.header(), survey->header.size_bytes);
    } else {
        auto found = codec::read_seek_table(fs, file);
        if (!found.table) throw base::Error(file.path() + " was changed while it was read");
        exchange.write_zstd(layout.header(), *found.table);
    }
    return engine::RepackResult{.fingerprint = {canon::content_digest(survey->device_digests, header.configs),
                                                survey->device_digests, header.configs, header.ctime},
                                .archive_bytes = survey->archive_bytes,
                                .source_bytes = survey->stored_bytes,
                                .result_bytes = writer.written_bytes()};
}

}  // namespace vmad::repack
