// vmactl ls: the volumes in an archive, or the files on one of them.

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/guest_archive.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/text_table.hpp"
#include "guest/volume_choice.hpp"

namespace vmad::ctl {
namespace {

using Align = TextTable::Align;

struct File {
    std::string name;
    guest::FileStatus status;
    std::string target;  ///< of a symbolic link
};

struct TypeName {
    char letter;  ///< as in ls -l
    const char* word;
};

TypeName name_of(guest::FileType type) {
    constexpr std::array kNames{
        TypeName{'-', "file"},      TypeName{'d', "directory"}, TypeName{'l', "link"},
        TypeName{'c', "character"}, TypeName{'b', "block"},     TypeName{'p', "fifo"},
        TypeName{'s', "socket"},    TypeName{'?', "other"},
    };
    return kNames[static_cast<std::size_t>(type)];
}

/// As "ls -l" shows it: "-rwsr-x--T".
std::string mode_text(const guest::FileStatus& status) {
    std::string text{name_of(status.type).letter};
    constexpr std::string_view kLetters = "rwxrwxrwx";
    for (unsigned i = 0; i < kLetters.size(); ++i)
        text += (status.mode & (0400U >> i)) != 0 ? kLetters[i] : '-';
    const auto mark = [&](unsigned bit, std::size_t at, char letter) {
        if ((status.mode & bit) == 0) return;
        text[at] = text[at] == 'x' ? letter : static_cast<char>(letter - 'a' + 'A');
    };
    mark(04000, 3, 's');
    mark(02000, 6, 's');
    mark(01000, 9, 't');
    return text;
}

nlohmann::json to_json(const File& file) {
    nlohmann::json out{{"name", file.name},
                       {"type", name_of(file.status.type).word},
                       {"mode", fmt::format("{:04o}", file.status.mode)},
                       {"owner", file.status.owner},
                       {"group", file.status.group},
                       {"size_bytes", file.status.size_bytes},
                       {"modified", file.status.modified}};
    if (file.status.type == guest::FileType::link) out["target"] = file.target;
    return out;
}

std::string table_of(const std::vector<File>& files, const Console& console) {
    TextTable table({{"MODE"},
                     {"OWNER", Align::right},
                     {"GROUP", Align::right},
                     {"SIZE", Align::right},
                     {"MODIFIED"},
                     {"NAME", Align::left, true}});
    for (const auto& [name, status, target] : files)
        table.add({{mode_text(status)},
                   {fmt::format("{}", status.owner)},
                   {fmt::format("{}", status.group)},
                   {base::format_size(status.size_bytes)},
                   {minute_time(status.modified)},
                   {status.type == guest::FileType::link ? fmt::format("{} → {}", name, target) : name}});
    return table.empty() ? "" : table.render(console);
}

bool is_readable(const guest::Volume& volume) {
    return volume.problem.empty() && guest::VolumeTree::can_open(volume.file_system);
}

nlohmann::json to_json(const guest::Volume& volume) {
    nlohmann::json out{{"volume", volume.name}, {"size_bytes", volume.bytes},
                       {"use", volume.use},     {"file_system", volume.file_system},
                       {"label", volume.label}, {"readable", is_readable(volume)}};
    if (!volume.problem.empty()) out["problem"] = volume.problem;
    return out;
}

std::string table_of(const std::vector<guest::Volume>& volumes, const Console& console) {
    TextTable table({{"VOLUME"},
                     {"SIZE", Align::right},
                     {"FILE SYSTEM"},
                     {"READABLE"},
                     {"LABEL", Align::left, true},
                     {"USE", Align::left, true, true, true}});
    const auto or_dash = [](const std::string& text) { return text.empty() ? std::string("-") : text; };
    for (const auto& volume : volumes) {
        table.add({{volume.name},
                   {base::format_size(volume.bytes)},
                   {or_dash(volume.file_system)},
                   {is_readable(volume) ? "yes" : "no"},
                   {or_dash(volume.label)},
                   {or_dash(volume.use)}});
        table.add_note(volume.problem);
    }
    return table.empty() ? "" : table.render(console);
}

class LsCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("ARCHIVE", word_, "Path or volume ID, or ARCHIVE:/PATH").required();
        arguments.option("--volume", volume_, "The volume that PATH is on").value_name("NAME");
        arguments.footer(
            "Without PATH, lists the volumes in the archive: partitions, logical volumes, and\n"
            "disks without either. With PATH, lists a file or a directory on the volume that\n"
            "--volume names, or else on the only one that holds a system. Reads ext2, ext3,\n"
            "ext4 and NTFS. Symbolic links in PATH are followed.");
    }

    ExitCode run(Context& context) override {
        const auto [archive, path] = guest_path(word_);
        archive_ = archive;
        try {
            archive_ = archive_name(context.fs, context.console, archive).path;
            GuestArchive guest(context.fs, context.console, archive_);
            const auto& volumes = guest.enter(volume_);
            if (!path && volume_.empty()) {
                show(context, volumes);
            } else {
                const auto tree = guest::open_volume(volumes, volume_);
                list(context, *tree, path.value_or("/"));
            }
        } catch (const base::Error&) {
            return report_failure(context.console, archive_);
        }
        return code_;
    }

  private:
    void list(Context& context, guest::VolumeTree& tree, const std::string& path) {
        if (const auto text = tree.warning(); !text.empty()) context.console.message(text);
        std::vector<File> files;
        try {
            const auto inode = tree.find(path);
            if (tree.status(inode).type != guest::FileType::directory) {
                add(context, files, tree, path, {path, inode});
            } else {
                for (const auto& entry : tree.entries(inode))
                    add(context, files, tree, path + "/" + entry.name, entry);
            }
        } catch (const base::Error& error) {
            throw base::Error(fmt::format("{}: {}", path, error.what()));
        }
        std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
        show(context, files);
    }

    /// One that cannot be read is reported, and left out.
    void add(Context& context, std::vector<File>& files, guest::VolumeTree& tree, const std::string& path,
             guest::DirectoryEntry entry) {
        try {
            File file{std::move(entry.name), tree.status(entry.inode), {}};
            if (file.status.type == guest::FileType::link) file.target = tree.link_target(entry.inode);
            files.push_back(std::move(file));
        } catch (const base::Error& error) {
            context.console.error(fmt::format("{}: {}", path, error.what()), {{"path", path}});
            code_ = ExitCode::failed;
        }
    }

    template <typename Items>
    static void show(Context& context, const Items& items) {
        if (!context.options.json) return context.console.print(table_of(items, context.console));
        for (const auto& item : items) context.console.print_json(to_json(item));
    }

    std::string word_;
    std::string volume_;
    std::string archive_;
    ExitCode code_ = ExitCode::done;
};

}  // namespace

std::unique_ptr<Command> make_ls_command() { return std::make_unique<LsCommand>(); }

}  // namespace vmad::ctl
