import io.questdb.cairo.CairoEngine;
import io.questdb.cairo.DefaultCairoConfiguration;
import io.questdb.cairo.TableWriter;
import io.questdb.cairo.security.AllowAllSecurityContext;
import io.questdb.cairo.sql.Record;
import io.questdb.cairo.sql.RecordCursor;
import io.questdb.cairo.sql.RecordCursorFactory;
import io.questdb.griffin.SqlExecutionContextImpl;
import io.questdb.mp.WorkerPool;
import io.questdb.mp.WorkerPoolUtils;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * QuestDB in a process of its own: loads raw columns, then obeys lines on standard input: "run" makes
 * all bars as tables, "save" writes them out for the check. Each command is answered with one line.
 *
 * Arguments: folder of the columns, folder for the database, threads, intervals with commas.
 */
public final class Bench {
    private static final String BARS =
            "SELECT symbol, ts, first(price) AS open, max(price) AS high, min(price) AS low, "
                    + "last(price) AS close, sum(quantity) AS volume, "
                    + "sum(price * quantity) AS quote_volume, "
                    + "sum(CASE WHEN side > 0 THEN quantity ELSE 0.0 END) AS taker_buy_volume, "
                    + "sum(CASE WHEN side > 0 THEN price * quantity ELSE 0.0 END) "
                    + "AS taker_buy_quote_volume, count() AS trade_count, "
                    + "first(trade_id) AS first_trade_id, last(trade_id) AS last_trade_id, "
                    + "first(time) AS first_trade_time, last(time) AS last_trade_time "
                    + "FROM trades SAMPLE BY %s ALIGN TO CALENDAR";
    private static final int FIRST_DOUBLE = 2;
    private static final int FIRST_LONG = 10;
    private static final int COLUMNS = 15;

    public static void main(String[] args) throws Exception {
        Path columns = Path.of(args[0]);
        int threads = Integer.parseInt(args[2]);
        String[] intervals = args[3].split(",");
        try (CairoEngine engine = new CairoEngine(new DefaultCairoConfiguration(args[1]));
                SqlExecutionContextImpl context = new SqlExecutionContextImpl(engine, threads)) {
            context.with(AllowAllSecurityContext.INSTANCE, null);
            // The thread that asks works too, so one fewer are hired.
            WorkerPool pool = threads > 1 ? new WorkerPool(() -> threads - 1) : null;
            if (pool != null) {
                WorkerPoolUtils.setupQueryJobs(pool, engine);
                pool.start();
            }
            load(engine, context, columns);
            System.out.println("ready");
            BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                for (String interval : intervals) {
                    if (line.equals("run")) {
                        engine.execute("DROP TABLE IF EXISTS bars_" + interval, context);
                        String query = String.format(BARS, interval);
                        engine.execute("CREATE TABLE bars_" + interval + " AS (" + query + ")", context);
                    } else {
                        save(engine, context, interval, columns.resolve("bars_" + interval));
                    }
                }
                System.out.println("done");
            }
            if (pool != null) {
                pool.halt();
            }
        }
    }

    private static ByteBuffer column(Path folder, String name) throws IOException {
        try (FileChannel file = FileChannel.open(folder.resolve(name), StandardOpenOption.READ)) {
            MappedByteBuffer bytes = file.map(FileChannel.MapMode.READ_ONLY, 0, file.size());
            return bytes.order(ByteOrder.LITTLE_ENDIAN);
        }
    }

    private static void load(CairoEngine engine, SqlExecutionContextImpl context, Path folder)
            throws Exception {
        engine.execute("DROP TABLE IF EXISTS trades", context);
        engine.execute(
                "CREATE TABLE trades (symbol INT, ts TIMESTAMP, time LONG, price DOUBLE, "
                        + "quantity DOUBLE, side BYTE, trade_id LONG) timestamp(ts) PARTITION BY DAY BYPASS WAL",
                context);
        ByteBuffer symbol = column(folder, "symbol");
        ByteBuffer time = column(folder, "time");
        ByteBuffer price = column(folder, "price");
        ByteBuffer quantity = column(folder, "quantity");
        ByteBuffer side = column(folder, "side");
        ByteBuffer id = column(folder, "trade_id");
        try (TableWriter writer = engine.getWriter(engine.verifyTableName("trades"), "load")) {
            int rows = side.capacity();
            for (int i = 0; i < rows; i++) {
                TableWriter.Row row = writer.newRow(Math.floorDiv(time.getLong(i * 8), 1000L));
                row.putInt(0, symbol.getInt(i * 4));
                row.putLong(2, time.getLong(i * 8));
                row.putDouble(3, price.getDouble(i * 8));
                row.putDouble(4, quantity.getDouble(i * 8));
                row.putByte(5, side.get(i));
                row.putLong(6, id.getLong(i * 8));
                row.append();
            }
            writer.commit();
        }
    }

    private static void save(
            CairoEngine engine, SqlExecutionContextImpl context, String interval, Path target)
            throws Exception {
        Files.deleteIfExists(target);
        try (RandomAccessFile file = new RandomAccessFile(target.toFile(), "rw");
                RecordCursorFactory factory = engine.select("bars_" + interval, context);
                RecordCursor cursor = factory.getCursor(context)) {
            ByteBuffer block = ByteBuffer.allocate(COLUMNS * 8 * 4096).order(ByteOrder.LITTLE_ENDIAN);
            Record record = cursor.getRecord();
            while (cursor.hasNext()) {
                block.putLong(record.getInt(0)).putLong(record.getTimestamp(1) * 1000L);
                for (int k = FIRST_DOUBLE; k < FIRST_LONG; k++) {
                    block.putDouble(record.getDouble(k));
                }
                for (int k = FIRST_LONG; k < COLUMNS; k++) {
                    block.putLong(record.getLong(k));
                }
                if (!block.hasRemaining()) {
                    file.write(block.array(), 0, block.position());
                    block.clear();
                }
            }
            file.write(block.array(), 0, block.position());
        }
    }
}
