// vmactl info: what an archive is, from its headers.

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/quantity.hpp"
#include "canon/layout.hpp"
#include "ctl/archive_task.hpp"
#include "ctl/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/local_time.hpp"
#include "ctl/printable_text.hpp"
#include "ctl/text_table.hpp"
#include "repack/proof.hpp"
#include "vma/archive_reader.hpp"

namespace vmad::ctl {
namespace {

struct ArchiveInfo {
    std::string path;
    std::uint64_t size_bytes = 0;
    vma::Header header;
    std::optional<std::uint64_t> canonical_extents;  ///< nothing when its headers are not canonical
};

ArchiveInfo inspect(io::FileSystem& fs, const std::string& path) {
    const auto file = open_archive(fs, path);
    io::FileSource source(fs, file, io::CacheUse::keep);
    base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize, 0);
    const vma::ArchiveReader reader(source, buffers);
    ArchiveInfo info{path, source.size_bytes().value_or(0), reader.header(), {}};
    if (repack::has_canonical_headers(fs, file, base::CancelFlag()))
        info.canonical_extents = canon::Layout(info.header).extent_count();
    return info;
}

std::string uuid_text(const vma::Uuid& uuid) {
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += fmt::format("{:02x}", std::to_integer<unsigned>(uuid[i]));
    }
    return text;
}

nlohmann::json to_json(const ArchiveInfo& info) {
    nlohmann::json out{{"path", info.path},
                       {"size_bytes", info.size_bytes},
                       {"ctime", info.header.ctime},
                       {"uuid", uuid_text(info.header.uuid)},
                       {"canonical_headers", info.canonical_extents.has_value()},
                       {"configs", nlohmann::json::array()},
                       {"devices", nlohmann::json::array()}};
    if (info.canonical_extents) out["extent_count"] = *info.canonical_extents;
    for (const auto& config : info.header.configs)
        out["configs"].push_back({{"name", config.name}, {"size_bytes", config.data.size()}});
    for (const auto& device : info.header.devices)
        out["devices"].push_back(
            {{"name", device.name}, {"id", device.id}, {"size_bytes", device.size_bytes}});
    return out;
}

std::string describe(const ArchiveInfo& info, const Console& console) {
    std::string layout = "not canonical";
    if (info.canonical_extents)
        layout = fmt::format("canonical, version {}, by its headers; {} extents", canon::kLayoutVersion,
                             *info.canonical_extents);
    auto text = fmt::format("archive  {}\nsize     {} ({} bytes)\ncreated  {}\nuuid     {}\nlayout   {}\n",
                            printable(info.path), base::format_size(info.size_bytes), info.size_bytes,
                            iso_local_time(info.header.ctime), uuid_text(info.header.uuid), layout);

    using Align = TextTable::Align;
    TextTable configs({{"CONFIG", Align::left, true}, {"BYTES", Align::right}});
    for (const auto& config : info.header.configs)
        configs.add({{config.name}, {fmt::format("{}", config.data.size())}});
    if (!configs.empty()) text += "\n" + configs.render(console);

    TextTable devices({{"DEVICE", Align::left, true},
                       {"ID", Align::right},
                       {"SIZE", Align::right},
                       {"BYTES", Align::right}});
    for (const auto& device : info.header.devices)
        devices.add({{device.name},
                     {fmt::format("{}", device.id)},
                     {base::format_size(device.size_bytes)},
                     {fmt::format("{}", device.size_bytes)}});
    if (!devices.empty()) text += "\n" + devices.render(console);
    return text;
}

class InfoCommand final : public Command {
  public:
    void define(CLI::App& app) override {
        app.add_option("ARCHIVE", path_, "A .vma file")->type_name("")->required();
        app.footer("Reads headers only: \"vmactl verify\" looks at everything.");
    }

    ExitCode run(Context& context) override {
        std::optional<ArchiveInfo> info;
        try {
            info = inspect(context.fs, path_);
        } catch (const base::Error&) {
            return report_failure(context.console, path_);
        }
        if (context.options.json)
            context.console.print_json(to_json(*info));
        else
            context.console.print(describe(*info, context.console));
        return ExitCode::done;
    }

  private:
    std::string path_;
};

}  // namespace

std::unique_ptr<Command> make_info_command() { return std::make_unique<InfoCommand>(); }

}  // namespace vmad::ctl
