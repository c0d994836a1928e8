// vmactl info: shows the header of an archive.

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.hpp"
#include "canon/layout.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_info.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/text_table.hpp"
#include "vma/archive_reader.hpp"

namespace vmad::ctl {
namespace {

ArchiveInfo inspect(Context& context, const std::string& path) {
    auto& fs = context.fs;
    ArchiveInput input(fs, path, io::CacheUse::peek, {});
    base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize, 0);
    const vma::ArchiveReader reader(input.source(), buffers);
    ArchiveInfo info{path, input.source().format(), {}, reader.header()};
    info.canonical_extents = canon::Layout(info.header).extent_count();
    if (input.file() == nullptr) return info;
    info.size_bytes = static_cast<std::uint64_t>(fs.status(*input.file()).st_size);
    ProgressBar bar(context.console, archive_label(path), {base::Stage::verifying});
    info.canonical =
        verify::canonical_by_headers(fs, *input.file(), {base::default_threads(), nullptr, bar.sink()});
    return info;
}

std::string layout_text(const ArchiveInfo& info) {
    switch (info.canonical) {
        case verify::Canonical::yes:
            return fmt::format("canonical (version {}) according to its headers, {} extents",
                               canon::kLayoutVersion, info.canonical_extents);
        case verify::Canonical::no:
            return "not canonical";
        case verify::Canonical::unknown:
            return "unknown without reading the whole archive (vmactl verify)";
    }
    return "";
}

std::string describe(const ArchiveInfo& info, const Console& console) {
    auto text =
        fmt::format("archive  {}\nformat   {}\n", printable(info.path), codec::format_name(info.format));
    if (info.size_bytes)
        text +=
            fmt::format("size     {} ({} bytes)\n", base::format_size(*info.size_bytes), *info.size_bytes);
    text += fmt::format("created  {}\nuuid     {}\nlayout   {}\n", iso_local_time(info.header.ctime),
                        uuid_text(info.header.uuid), layout_text(info));

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
    void define(Arguments& arguments) override {
        arguments.operand("ARCHIVE", path_, "Path, volume ID, or - for standard input").required();
        arguments.footer("Reads only headers. \"vmactl verify\" checks everything.");
    }

    ExitCode run(Context& context) override {
        std::optional<ArchiveInfo> info;
        try {
            path_ = archive_name(context.fs, context.console, path_).path;
            info = inspect(context, path_);
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
